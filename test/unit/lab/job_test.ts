import { assert } from "../../testing.ts";
import {
  formatDuration,
  type Job,
  jobEnvironment,
  jobScript,
  parseDuration,
  parseMemory,
  shellQuote,
} from "../../lab/job.ts";

const job: Job = {
  command: ["printf", "%s|", "it's", "a b", "$HOME", "", "x\ny"],
  directory: "/",
  environment: { KLB_X: "a 'b' $c" },
  terminal: false,
  input: undefined,
  out: undefined,
  timeoutMs: 1000,
  memoryMb: 1,
  quiet: true,
};

Deno.test("the job's script hands every argument through unchanged", async () => {
  const { stdout } = await new Deno.Command("/bin/sh", { args: ["-c", jobScript(job)] }).output();
  assert.equal(new TextDecoder().decode(stdout), "it's|a b|$HOME||x\ny|");
});

Deno.test("the job's script sets the environment", async () => {
  const script = jobScript({ ...job, command: ["sh", "-c", 'printf %s "$KLB_X"'] });
  const { stdout } = await new Deno.Command("/bin/sh", { args: ["-c", script] }).output();
  assert.equal(new TextDecoder().decode(stdout), "a 'b' $c");
});

Deno.test("words are quoted only where the shell needs it", () => {
  assert.equal(shellQuote("deno"), "deno");
  assert.equal(shellQuote("--out=/a/b.c"), "--out=/a/b.c");
  assert.equal(shellQuote("~"), "'~'");
  assert.equal(shellQuote(""), "''");
});

Deno.test("the environment passes what tests need, and deno is on the PATH", () => {
  const environment = jobEnvironment(
    { PATH: "/a:/usr/bin", HOME: "/h", KLB_SEED: "1", NO_COLOR: "1", SECRET: "x", LC_ALL: "C" },
    "/opt/npx/deno",
  );
  assert.deepEqual(environment, {
    PATH: "/opt/npx:/a:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin",
    HOME: "/h",
    KLB_SEED: "1",
    NO_COLOR: "1",
    LC_ALL: "C",
  });
});

Deno.test("times and sizes", () => {
  assert.equal(parseDuration("90s"), 90_000);
  assert.equal(parseDuration("1.5m"), 90_000);
  assert.equal(parseDuration("500ms"), 500);
  assert.equal(parseDuration("5"), undefined);
  assert.equal(parseMemory("2G"), 2048);
  assert.equal(parseMemory("512m"), 512);
  assert.equal(parseMemory("2"), undefined);
  assert.equal(formatDuration(900_000), "15 min");
  assert.equal(formatDuration(90_000), "90 s");
});
