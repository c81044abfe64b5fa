/**
 * `deno task lab [OPTIONS] [-- COMMAND ARGS]`: runs a command, or a shell, in the lab.
 *
 * @module
 */
import { chooseBackend, NoBackendError, readFacts } from "./backend.ts";
import {
  exitKernel,
  type Job,
  jobEnvironment,
  LabError,
  parseDuration,
  parseMemory,
} from "./job.ts";
import { runNative } from "./native.ts";
import {
  ensurePackages,
  exitUnavailable,
  labPackages,
  MissingPackagesError,
  umlPackages,
} from "./packages.ts";
import { Progress } from "./progress.ts";
import { runInUml, umlObstacle } from "./uml.ts";

const help = `Usage: deno task lab [OPTIONS] [--] [COMMAND ARGS ...]

Runs COMMAND (without one: a shell) in the lab: as root, on a kernel with IPVS, with nothing it does
reaching this machine. Where this machine's own kernel has IPVS and you are root, that is a set of
private namespaces; elsewhere Debian's user-mode-linux boots over an overlay of this machine's files.
The exit status is COMMAND's; 124 when the time limit ended it, 70 when the lab's kernel failed, 69
when something the lab needs is missing.

  --timeout TIME   end everything after TIME (90s, 5m, 1h); default 15m
  --out DIR        a directory that COMMAND can write to for good, at the same path
  --memory SIZE    memory of the lab kernel (512M, 2G); default 2G
  --tty            attach the terminal to COMMAND (a shell gets it anyway)
  --stdin          hand all of standard input to COMMAND
  --quiet          no progress on standard error
  --which          say which kernel the lab would use, and why
  --help

KLB_LAB=native or KLB_LAB=uml chooses the kernel. Inside, KLB_LAB_BACKEND says which one it is.
`;

interface Arguments {
  timeoutMs: number;
  memoryMb: number;
  out: string | undefined;
  terminal: boolean;
  stdin: boolean;
  quiet: boolean;
  which: boolean;
  help: boolean;
  command: string[];
}

class WrongUsage extends Error {}

function parse(args: readonly string[]): Arguments {
  const result: Arguments = {
    timeoutMs: 15 * 60_000,
    memoryMb: 2048,
    out: undefined,
    terminal: false,
    stdin: false,
    quiet: false,
    which: false,
    help: false,
    command: [],
  };
  for (let i = 0; i < args.length; i++) {
    const [name, attached] = splitOption(args[i]!);
    const value = () => {
      const text = attached ?? args[++i];
      if (text === undefined) throw new WrongUsage(`${name} needs a value`);
      return text;
    };
    switch (name) {
      case "--timeout": {
        const text = value();
        const ms = parseDuration(text);
        if (!ms) throw new WrongUsage(`--timeout ${text}: not a time like 90s or 5m`);
        result.timeoutMs = ms;
        break;
      }
      case "--memory": {
        const text = value();
        const megabytes = parseMemory(text);
        if (!megabytes) throw new WrongUsage(`--memory ${text}: not a size like 512M or 2G`);
        result.memoryMb = megabytes;
        break;
      }
      case "--out":
        result.out = value();
        break;
      case "--tty":
        result.terminal = true;
        break;
      case "--stdin":
        result.stdin = true;
        break;
      case "--quiet":
        result.quiet = true;
        break;
      case "--which":
        result.which = true;
        break;
      case "--help":
      case "-h":
        result.help = true;
        break;
      case "--":
        result.command = args.slice(i + 1);
        return result;
      default:
        if (name.startsWith("-")) throw new WrongUsage(`unknown option ${name}`);
        result.command = args.slice(i);
        return result;
    }
  }
  return result;
}

function splitOption(text: string): [string, string | undefined] {
  const match = /^(--[a-z]+)=(.*)$/s.exec(text);
  return match ? [match[1]!, match[2]!] : [text, undefined];
}

async function main(args: readonly string[], signal: AbortSignal): Promise<number> {
  const options = parse(args);
  if (options.help) {
    print(Deno.stdout, help);
    return 0;
  }
  // kmod comes first: without it the question for IPVS cannot be answered.
  if (!options.which) await ensurePackages(labPackages);
  const { backend, reason } = chooseBackend(readFacts());
  if (options.which) {
    print(Deno.stdout, `${backend}: ${reason}\n`);
    return 0;
  }
  if (backend === "uml") {
    await ensurePackages(umlPackages);
    const obstacle = umlObstacle();
    if (obstacle) throw new NoBackendError(`the lab cannot boot user-mode-linux: ${obstacle}`);
  }
  await fetchDependencies();
  const shell = options.command.length === 0;
  const terminal = (options.terminal || shell) && Deno.stdin.isTerminal() &&
    Deno.stdout.isTerminal();
  let out = options.out;
  if (out !== undefined) {
    Deno.mkdirSync(out, { recursive: true });
    out = Deno.realPathSync(out);
  }
  const job: Job = {
    command: options.command,
    directory: Deno.cwd(),
    environment: {
      ...jobEnvironment(Deno.env.toObject(), Deno.execPath()),
      KLB_LAB_BACKEND: backend,
    },
    terminal,
    input: !terminal && (options.stdin || shell)
      ? new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer())
      : undefined,
    out,
    timeoutMs: options.timeoutMs,
    memoryMb: options.memoryMb,
    quiet: options.quiet,
  };
  return await (backend === "uml" ? runInUml(job, signal) : runNative(job, signal));
}

/** Fills Deno's cache: the lab has no network. Takes no time when it is filled. */
async function fetchDependencies(): Promise<void> {
  const root = new URL("../../", import.meta.url).pathname;
  using _progress = new Progress("lab: fetching dependencies");
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["install", "--frozen", "--quiet"],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "null",
  }).output();
  if (success) return;
  // What is needed may be there all the same; if not, the command will say so.
  print(Deno.stderr, `lab: not all dependencies could be fetched: ${decode(stderr).trim()}\n`);
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function print(to: { writeSync(data: Uint8Array): number }, text: string): void {
  to.writeSync(new TextEncoder().encode(text));
}

if (import.meta.main) {
  const ending = new AbortController();
  let status = 0;
  for (const [name, number] of [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]] as const) {
    Deno.addSignalListener(name, () => {
      status = 128 + number;
      ending.abort();
    });
  }
  try {
    status = await main(Deno.args, ending.signal);
  } catch (error) {
    if (error instanceof LabError) {
      if (status === 0) status = error.status;
      print(Deno.stderr, `lab: ${error.message}\n`);
    } else if (error instanceof WrongUsage) {
      status = 64;
      print(Deno.stderr, `lab: ${error.message}; see deno task lab --help\n`);
    } else if (error instanceof MissingPackagesError || error instanceof NoBackendError) {
      status = exitUnavailable;
      print(Deno.stderr, `lab: ${error.message}\n`);
    } else {
      status = exitKernel;
      print(Deno.stderr, `lab: ${error instanceof Error ? error.stack : error}\n`);
    }
  }
  // Not left to the event loop: a pending read of the terminal would hold it.
  Deno.exit(status);
}
