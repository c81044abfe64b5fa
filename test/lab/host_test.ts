/**
 * The lab as seen from the machine it runs on. Boots it; run it outside of the lab.
 */
import { assert } from "../testing.ts";
import { inLab } from "./linux.ts";

const ignore = inLab;
const main = new URL("./main.ts", import.meta.url).pathname;

function lab(...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, "--quiet", "--memory", "512M", ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Tells the command's own mark, by which everything of its lab can be found on this machine. */
const tellMark = `sed -n 's/.*KLB_LAB_RUN=\\([^ ]*\\).*/\\1/p' /proc/cmdline | head -1`;

function traces(mark: string): string[] {
  const found: string[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    try {
      const line = Deno.readTextFileSync(`/proc/${Number(name)}/cmdline`);
      if (line.includes(mark)) found.push(`process ${name}`);
    } catch {
      // Not a process, or no longer one.
    }
  }
  try {
    Deno.statSync(mark);
    found.push(mark);
  } catch {
    // As it should be.
  }
  return found;
}

async function noTraces(mark: string): Promise<void> {
  // The watcher of a killed lab needs a moment.
  for (let i = 0; i < 50 && traces(mark).length > 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(traces(mark), []);
}

Deno.test({
  name: "lab: output is exact, streams stay apart, the exit status passes, nothing is left",
  ignore,
  async fn() {
    const script = `i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i+1)); done
      seq 1 20000; (${tellMark}; printf '%s' "$1") >&2; touch /etc/klb-lab-trace; exit 23`;
    const { code, stdout, stderr } = await lab("--", "sh", "-c", script, "sh", 'it\'s "x" $y')
      .output();
    assert.equal(code, 23);
    const numbers = Array.from({ length: 20000 }, (_, i) => `${i + 1}\n`).join("");
    assert.deepEqual(stdout.subarray(0, 256), Uint8Array.from({ length: 256 }, (_, i) => i));
    assert.equal(new TextDecoder().decode(stdout.subarray(256)), numbers);
    const [mark, argument] = splitLast(new TextDecoder().decode(stderr));
    assert.equal(argument, 'it\'s "x" $y');
    if (mark) await noTraces(mark);
    assert.throws(() => Deno.statSync("/etc/klb-lab-trace"), Deno.errors.NotFound);
  },
});

Deno.test({
  name: "lab: a hang ends with a message",
  ignore,
  async fn() {
    const { code, stderr } = await lab("--timeout", "6s", "--", "sleep", "1000").output();
    assert.equal(code, 124);
    assert.match(new TextDecoder().decode(stderr), /did not end within 6 s.*--timeout.*sleep 1000/);
  },
});

Deno.test({
  name: "lab: two at once do not disturb each other; SIGTERM and even SIGKILL leave nothing",
  ignore,
  async fn() {
    const ended = lab("--", "sh", "-c", `${tellMark}; echo .; exec sleep 1000`);
    const killed = lab("--", "sh", "-c", `${tellMark}; echo .; exec sleep 1000`);
    const marks = await Promise.all([firstLines(ended.stdout), firstLines(killed.stdout)]);
    ended.kill("SIGTERM");
    assert.equal((await ended.status).code, 143);
    if (marks[0]) await noTraces(marks[0]);
    if (marks[1]) assert.notDeepEqual(traces(marks[1]), []);
    killed.kill("SIGKILL");
    await killed.status;
    if (marks[1]) await noTraces(marks[1]);
    await ended.stderr.cancel();
    await killed.stderr.cancel();
  },
});

Deno.test({
  name: "lab: a kernel that dies says why",
  ignore: ignore || labIsNative(),
  async fn() {
    const { code, stdout, stderr } = await lab(
      "--",
      "sh",
      "-c",
      "echo before; sleep 0.2; echo c >/proc/sysrq-trigger; sleep 9",
    ).output();
    assert.equal(code, 70);
    assert.equal(new TextDecoder().decode(stdout), "before\n");
    assert.match(new TextDecoder().decode(stderr), /kernel died.*\n.*Kernel panic/s);
  },
});

function splitLast(text: string): [string, string] {
  const at = text.lastIndexOf("\n");
  return [text.slice(0, Math.max(at, 0)).trim(), text.slice(at + 1)];
}

/** Everything before the line that is a dot. */
async function firstLines(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of stream) {
    text += new TextDecoder().decode(chunk);
    if (/^\.$/m.test(text)) break;
  }
  return text.slice(0, text.indexOf(".\n") < 0 ? 0 : text.lastIndexOf(".\n")).trim();
}

function labIsNative(): boolean {
  if (inLab) return true;
  const { stdout } = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", main, "--which"],
    stderr: "null",
  }).outputSync();
  return new TextDecoder().decode(stdout).startsWith("native");
}
