/**
 * Runs a job under Debian's user-mode-linux, over an overlay of this machine's files.
 *
 * The run directory is the only meeting place: the guest mounts it with hostfs, reads the job there
 * and writes output and status, which this side follows. Kernel messages go to the kernel's standard
 * output and are shown only when something goes wrong, so the job's output stays exact.
 *
 * @module
 */
import { statfsSync } from "node:fs";
import { exitKernel, type Job, jobScript, LabError, overtime } from "./job.ts";
import { Progress } from "./progress.ts";

const kernel = "/usr/bin/linux.uml";
// Stack dumps, and what this kernel says at every start.
const noise =
  /^ *(\[<[0-9a-f]+>\]|([0-9a-f]{8} ?)+$|Stack:|Call Trace:|mmapper_init|Failed to initialize ubd|SELinux:)/;
const bootLimitMs = 90_000;
const pollMs = 15;

/**
 * Boots, runs the job, powers off.
 *
 * @returns the job's exit status.
 * @throws {LabError} when the kernel does not boot or dies, or the time is over.
 */
export async function runInUml(job: Job, signal: AbortSignal): Promise<number> {
  await using run = await RunDirectory.create(job);
  await using machine = new Machine(run, job);
  const until = performance.now() + job.timeoutMs;
  {
    using _progress = new Progress("lab: booting the lab kernel", job.quiet);
    const bootUntil = performance.now() + bootLimitMs;
    while (!run.has("started")) {
      if (signal.aborted) throw new LabError("ended by a signal", 130);
      if (machine.ended) throw machine.failure("the lab kernel did not boot");
      if (performance.now() > until) throw overtime(job);
      if (performance.now() > bootUntil) {
        throw machine.failure(`the lab kernel did not boot within ${bootLimitMs / 1000} s`);
      }
      await sleep(pollMs);
    }
  }
  using terminal = job.terminal ? new Terminal(run) : undefined;
  using output = job.terminal ? undefined : new Output(run);
  while (!run.has("status")) {
    output?.pump();
    if (signal.aborted) throw new LabError("ended by a signal", 130);
    if (machine.ended && !run.has("status")) {
      await sleep(pollMs);
      output?.pump();
      throw machine.failure("the lab kernel died while the command ran");
    }
    if (performance.now() > until) throw overtime(job);
    await sleep(pollMs);
  }
  output?.pump();
  await terminal?.drain();
  return Number(run.read("status"));
}

/** Why user-mode-linux cannot run here; undefined when nothing speaks against it. */
export function umlObstacle(): string | undefined {
  try {
    Deno.statSync(kernel);
  } catch {
    return `${kernel} is missing (Debian package user-mode-linux)`;
  }
  try {
    moduleDirectory();
  } catch {
    return "/usr/lib/uml/modules holds no modules (Debian package user-mode-linux)";
  }
}

/** The meeting place of both sides, and where the machine's memory file lives. */
class RunDirectory implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(job: Job): Promise<RunDirectory> {
    const dir = memoryDirectory(job.memoryMb);
    const path = await Deno.makeTempDir({ prefix: "klb-lab-", ...(dir ? { dir } : {}) });
    const run = new RunDirectory(path);
    try {
      run.write("init", Deno.readTextFileSync(new URL("./uml_init.sh", import.meta.url)), 0o755);
      run.write("guest.sh", Deno.readTextFileSync(new URL("./uml_guest.sh", import.meta.url)));
      run.write("job.sh", jobScript(job));
      run.write("fstab", mountTable(path, job.out));
      layFiles(`${path}/files`);
      run.write("stdout", "");
      run.write("stderr", "");
      Deno.writeFileSync(`${path}/stdin`, job.input ?? new Uint8Array());
      if (job.out) run.write("sync", "");
      if (job.terminal) {
        run.write("tty", "");
        const { success } = await new Deno.Command("mkfifo", {
          args: [`${path}/tty-in`, `${path}/tty-out`],
        }).output();
        if (!success) throw new LabError("mkfifo failed", exitKernel);
      }
      return run;
    } catch (error) {
      await run[Symbol.asyncDispose]();
      throw error;
    }
  }

  write(name: string, text: string, mode = 0o644): void {
    Deno.writeTextFileSync(`${this.path}/${name}`, text, { mode });
  }

  has(name: string): boolean {
    try {
      Deno.statSync(`${this.path}/${name}`);
      return true;
    } catch {
      return false;
    }
  }

  read(name: string): string {
    return Deno.readTextFileSync(`${this.path}/${name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true }).catch(() => {});
  }
}

/** The kernel's process, and with it all processes of the guest. */
class Machine implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #console: Promise<void>;
  #lines: string[] = [];
  #ended = false;

  constructor(run: RunDirectory, job: Job) {
    // A session of its own: a Ctrl-C in the terminal is for us, and one signal to the group ends every
    // process of the guest. The watcher sees the end of our side of its standard input even when we
    // are killed with no chance to clean up, and ends the group and its files in our place.
    const script = `
      exec 9<&0 </dev/null
      ( cat <&9 >/dev/null; rm -rf "$1"; kill -KILL 0 ) >/dev/null 2>&1 &
      exec 9<&-
      ${job.terminal ? 'exec 3<>"$1/tty-in" 4<>"$1/tty-out"' : ""}
      run=$1
      shift
      KLB_LAB_RUN=$run TMPDIR=$run exec "$@"`;
    this.#process = new Deno.Command("setsid", {
      args: [
        "/bin/sh",
        "-c",
        script,
        "sh",
        run.path,
        kernel,
        `mem=${job.memoryMb}M`,
        `uml_dir=${run.path}`,
        "umid=lab",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        // Else the kernel hides the host's /dev, and with it a run directory below /dev/shm.
        "devtmpfs.mount=0",
        // Two benchmarks for RAID that nothing here uses: half a second of every boot.
        "initcall_blacklist=raid6_select_algo,calibrate_xor_blocks",
        "quiet",
        "noreboot",
        `init=${run.path}/init`,
        `KLB_LAB_RUN=${run.path}`,
        `KLB_LAB_MODULES=${moduleDirectory()}`,
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        ...(job.terminal ? ["con1=fd:3,fd:4"] : []),
      ],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#console = this.#readConsole();
    this.#process.status.then(() => this.#ended = true);
  }

  /** The kernel has exited. */
  get ended(): boolean {
    return this.#ended;
  }

  /** An error that ends with what the kernel said last. */
  failure(what: string): LabError {
    const said = this.#lines.map((each) => each.trimEnd())
      .filter((each) => each.trim() !== "" && !noise.test(each));
    const cause = said.findIndex((each) => /Kernel panic|BUG:|^lab: /.test(each));
    const shown = cause >= 0 ? said.slice(Math.max(0, cause - 3), cause + 20) : said.slice(-25);
    return new LabError(
      what + (shown.length > 0 ? `; its console:\n  ${shown.join("\n  ")}` : ""),
      exitKernel,
    );
  }

  async #readConsole(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#process.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r?\n/);
      rest = lines.pop()!;
      this.#lines.push(...lines);
      if (this.#lines.length > 400) this.#lines = this.#lines.slice(-200);
    }
    if (rest !== "") this.#lines.push(rest);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The kernel is the leader of the group that we made, so the negated pid is ours to signal.
    try {
      Deno.kill(-this.#process.pid, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await this.#process.stdin.close().catch(() => {});
    await this.#process.status;
    await this.#console;
  }
}

/** Follows the output files of the guest to our own standard output and error. */
class Output implements Disposable {
  readonly #streams: readonly { from: Deno.FsFile; to: { writeSync(data: Uint8Array): number } }[];
  readonly #buffer = new Uint8Array(65536);

  constructor(run: RunDirectory) {
    this.#streams = [
      { from: Deno.openSync(`${run.path}/stdout`), to: Deno.stdout },
      { from: Deno.openSync(`${run.path}/stderr`), to: Deno.stderr },
    ];
  }

  /** Copies what has come since the last call. */
  pump(): void {
    for (const { from, to } of this.#streams) {
      for (let read = from.readSync(this.#buffer); read; read = from.readSync(this.#buffer)) {
        for (let written = 0; written < read;) {
          written += to.writeSync(this.#buffer.subarray(written, read));
        }
      }
    }
  }

  [Symbol.dispose](): void {
    for (const { from } of this.#streams) from.close();
  }
}

/** Joins our terminal with the first console of the guest. */
class Terminal implements Disposable {
  readonly #in: Deno.FsFile;
  readonly #out: Deno.FsFile;
  #idle = performance.now();

  constructor(run: RunDirectory) {
    // Read and write: opening must not wait for the other end.
    this.#in = Deno.openSync(`${run.path}/tty-in`, { read: true, write: true });
    this.#out = Deno.openSync(`${run.path}/tty-out`, { read: true, write: true });
    if (Deno.stdin.isTerminal()) Deno.stdin.setRaw(true);
    this.#copy(Deno.stdin, this.#in);
    this.#copy(this.#out, Deno.stdout);
  }

  /** Waits until the guest's last words are through. */
  async drain(): Promise<void> {
    do await sleep(50); while (performance.now() - this.#idle < 100);
  }

  async #copy(
    from: { read(buffer: Uint8Array): Promise<number | null> },
    to: { write(data: Uint8Array): Promise<number> },
  ): Promise<void> {
    const buffer = new Uint8Array(4096);
    try {
      for (let read = await from.read(buffer); read !== null; read = await from.read(buffer)) {
        this.#idle = performance.now();
        for (let written = 0; written < read;) {
          written += await to.write(buffer.subarray(written, read));
        }
      }
    } catch {
      // Closed: the session is over.
    }
  }

  [Symbol.dispose](): void {
    if (Deno.stdin.isTerminal()) Deno.stdin.setRaw(false);
    // The pending reads end with the process; closing would wait for them.
  }
}

/** What is mounted in the guest's new root, as in fstab(5). */
function mountTable(run: string, out: string | undefined): string {
  const root = "/mnt/root";
  const mounts = [
    `proc ${root}/proc proc defaults`,
    `sysfs ${root}/sys sysfs defaults`,
    `devtmpfs ${root}/dev devtmpfs defaults`,
    `devpts ${root}/dev/pts devpts mode=620,ptmxmode=666,x-mount.mkdir`,
    `shm ${root}/dev/shm tmpfs mode=1777,x-mount.mkdir`,
    `run ${root}/run tmpfs mode=755`,
    `klb-lab ${root}/run/klb-lab hostfs ${escapeSpace(run)},x-mount.mkdir`,
  ];
  if (out) {
    const path = escapeSpace(out);
    mounts.push(`klb-out ${root}${path} hostfs ${path},x-mount.mkdir`);
  }
  return mounts.map((each) => `${each} 0 0\n`).join("");
}

/** fstab(5) separates by spaces. */
function escapeSpace(path: string): string {
  return path.replaceAll("\\", "\\134").replaceAll(" ", "\\040");
}

/** What is copied into the guest's new root. */
function layFiles(directory: string): void {
  for (const each of ["dev", "run/lock", "run/netns", "usr/lib/modules"]) {
    Deno.mkdirSync(`${directory}/${each}`, { recursive: true });
  }
  const modules = moduleDirectory();
  Deno.symlinkSync(modules, `${directory}/usr/lib/modules/${modules.split("/").at(-1)}`);
  for (const [name, target] of [["fd", ""], ["stdin", "/0"], ["stdout", "/1"], ["stderr", "/2"]]) {
    Deno.symlinkSync(`/proc/self/fd${target}`, `${directory}/dev/${name}`);
  }
}

/** Where the modules of the lab kernel are. */
function moduleDirectory(): string {
  const base = "/usr/lib/uml/modules";
  for (const each of Deno.readDirSync(base)) if (each.isDirectory) return `${base}/${each.name}`;
  throw new Deno.errors.NotFound(base);
}

/**
 * Where the machine's memory file may live: on a tmpfs with room for it that allows execution (UML maps
 * code from there), or else where temporary files go by default, which may be a slow disk.
 */
function memoryDirectory(memoryMb: number): string | undefined {
  try {
    const mounts = Deno.readTextFileSync("/proc/mounts").split("\n").map((each) => each.split(" "));
    const shm = mounts.filter((each) => each[1] === "/dev/shm").pop();
    if (!shm || shm[2] !== "tmpfs" || /(^|,)(noexec|ro)(,|$)/.test(shm[3] ?? "")) return undefined;
    const { bavail, bsize } = statfsSync("/dev/shm");
    return bavail * bsize > memoryMb * 1024 * 1024 ? "/dev/shm" : undefined;
  } catch {
    return undefined;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
