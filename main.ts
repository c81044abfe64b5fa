/**
 * klb: keeps Linux IPVS filled with the workers that announce themselves by DNS-SD.
 *
 * Turns arguments into a command, signals into an abort, and its result into an exit status; hands
 * in everything that needs FFI. See README.md for a map of the code.
 *
 * @module
 */
import denoConfig from "./deno.json" with { type: "json" };
import { InterfaceFlag, openInterfaceLister } from "./ffi/interfaces.ts";
import { openLibc } from "./ffi/libc.ts";
import { configureMulticast, socketDescriptors } from "./ffi/multicast.ts";
import { openNetlinkSocket } from "./ffi/netlink_socket.ts";
import { openNotifier } from "./ffi/notify.ts";
import { watchSystem } from "./ffi/system_changes.ts";
import { UsageError } from "./src/cli/args.ts";
import { browseCommand } from "./src/cli/browse.ts";
import { checkCommand } from "./src/cli/check.ts";
import { type Command, type CommandContext, Exit } from "./src/cli/command.ts";
import { type Platform, runCommand } from "./src/cli/run.ts";
import type { SystemInterface } from "./src/discovery/mdns/driver.ts";
import { IpvsClient } from "./src/ipvs/client.ts";
import type { Family } from "./src/model/address.ts";
import { nearest } from "./src/suggest.ts";

const commands: readonly Command[] = [
  runCommand(openPlatform),
  checkCommand,
  browseCommand(openPlatform),
  {
    name: "version",
    summary: "print the version",
    help: "klb version\n\nPrints klb's version and that of the Deno it runs on.",
    run(_args, { out }) {
      out(`klb ${denoConfig.version} (deno ${Deno.version.deno})`);
      return Promise.resolve(Exit.ok);
    },
  },
  {
    name: "help",
    summary: "explain a command",
    help: "klb help [COMMAND]\n\nExplains a command, or lists them all.",
    run([name], { out }) {
      out(name === undefined ? overview() : findCommand(name).help);
      return Promise.resolve(Exit.ok);
    },
  },
];

function overview(): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `klb COMMAND [OPTIONS]\n\n${lines.join("\n")}\n\n"klb help COMMAND" says more.`;
}

function findCommand(name: string): Command {
  const command = commands.find((candidate) => candidate.name === name);
  if (command) return command;
  const near = nearest(name, commands.map((candidate) => candidate.name));
  throw new UsageError(
    `unknown command ${name}; ${near ? `did you mean "klb ${near}"?` : '"klb help" lists them'}`,
  );
}

async function main(args: readonly string[], context: CommandContext): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined) {
    context.err(overview());
    return Exit.usage;
  }
  const name = { "--help": "help", "-h": "help", "--version": "version" }[first] ?? first;
  try {
    const command = findCommand(name);
    if (rest.includes("--help") || rest.includes("-h")) {
      context.out(command.help);
      return Exit.ok;
    }
    return await command.run(rest, context);
  } catch (error) {
    if (error instanceof UsageError) {
      const known = name !== "help" && commands.some((command) => command.name === name);
      const more = known ? `; "klb help ${name}" says what it takes` : "";
      context.err(`klb: ${error.message}${more}`);
      return Exit.usage;
    }
    if (error instanceof Deno.errors.NotCapable) {
      context.err(`klb: Deno keeps klb from working: ${error.message.split("\n")[0]}`);
      return Exit.unavailable;
    }
    throw error;
  }
}

/** Opens what needs FFI. */
function openPlatform(): Platform & Disposable {
  using opening = new DisposableStack();
  const libc = opening.use(openLibc());
  const lister = opening.use(openInterfaceLister());
  const notifier = opening.use(openNotifier(Deno.env.get("NOTIFY_SOCKET")));
  const opened = opening.move();
  return {
    openIpvs: async () => await IpvsClient.open(openNetlinkSocket()),
    configurator: {
      snapshot: socketDescriptors,
      configure: (before, settings) => configureMulticast(libc, before, settings),
    },
    listInterfaces: () =>
      lister.list().map(({ index, name, flags, addresses }): SystemInterface => ({
        index,
        name,
        up: (flags & InterfaceFlag.up) !== 0,
        running: (flags & InterfaceFlag.running) !== 0,
        multicast: (flags & InterfaceFlag.multicast) !== 0,
        loopback: (flags & InterfaceFlag.loopback) !== 0,
        pointToPoint: (flags & InterfaceFlag.pointToPoint) !== 0,
        families: new Set(
          addresses.map((bytes): Family => bytes.length === 4 ? "ipv4" : "ipv6"),
        ),
      })),
    watchSystem,
    notifier,
    journald: Deno.env.has("JOURNAL_STREAM"),
    [Symbol.dispose]: () => opened.dispose(),
  };
}

if (import.meta.main) {
  const abort = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => abort.abort());
  }
  const encoder = new TextEncoder();
  const write = (stream: { writeSync(bytes: Uint8Array): number }) => (line: string) => {
    let bytes = encoder.encode(line + "\n");
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
  };
  Deno.exit(
    await main(Deno.args, {
      out: write(Deno.stdout),
      err: write(Deno.stderr),
      signal: abort.signal,
      terminal: Deno.stdout.isTerminal() ? { size: Deno.consoleSize } : undefined,
    }),
  );
}
