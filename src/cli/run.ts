/**
 * `klb run`: the daemon. [shell]
 *
 * @module
 */
import { loadConfig } from "../config/load.ts";
import { ConfigError, formatProblem, formatWarning } from "../config/schema.ts";
import { type IpvsTable, runDaemon, StartError } from "../daemon.ts";
import type { SystemInterface, SystemWatch } from "../discovery/mdns/driver.ts";
import type { SocketConfigurator } from "../discovery/mdns/sockets.ts";
import { startDiscovery } from "../discovery/start.ts";
import { configureLog, type LogLevel, openLog } from "../log.ts";
import { parseArguments, UsageError } from "./args.ts";
import { type Command, Exit } from "./command.ts";

/** What only FFI can do for the daemon; `main.ts` injects it. */
export interface Platform {
  /**
   * Opens the kernel's IPVS table.
   *
   * @throws {Error} whose message says what is missing and what to do.
   */
  openIpvs(): Promise<IpvsTable & Disposable>;
  readonly configurator: SocketConfigurator;
  listInterfaces(): readonly SystemInterface[];
  /** See {@link SystemWatch}. */
  readonly watchSystem: SystemWatch;
  /** Tells systemd, where it listens (sd_notify(3)). */
  readonly notifier: {
    ready(): Error | undefined;
    status(text: string): Error | undefined;
    stopping(): Error | undefined;
  };
  /** True when standard error goes to the journal. */
  readonly journald: boolean;
}

const levels: readonly LogLevel[] = ["debug", "info", "warning", "error"];

const help = `klb run [--config FILE] [--log-level LEVEL]

Keeps IPVS filled with the workers that are announced, until SIGTERM or SIGINT.
What the kernel holds is adopted at the start and left in place at the end.

  --config FILE      /etc/klb/klb.toml if there is one, else /etc/cm4all/klb/klb.conf
  --log-level LEVEL  debug, info (default), warning or error

Exit status: 0 after a signal, 64 wrong usage, 69 IPVS cannot be used, 78 wrong config.`;

/** Makes the command; `openPlatform` is called only when it runs. */
export function runCommand(openPlatform: () => Platform & Disposable): Command {
  return {
    name: "run",
    summary: "keep IPVS filled with the announced workers (the daemon)",
    help,
    async run(args, { err, signal }) {
      const { values } = parseArguments(args, {
        config: { type: "string" },
        "log-level": { type: "string", default: "info" },
      });
      const level = levels.find((name) => name === values["log-level"]);
      if (!level) {
        throw new UsageError(`no log level ${values["log-level"]}; there are ${levels.join(", ")}`);
      }
      let config;
      try {
        config = await loadConfig(values.config as string | undefined);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        for (const problem of error.problems) err(formatProblem(problem));
        return Exit.config;
      }
      using platform = openPlatform();
      await configureLog(platform.journald ? "journald" : "text", level, err);
      const log = openLog("daemon");
      for (const warning of config.warnings) log.warning(formatWarning(warning));
      const now = () => performance.now();
      const tell = (error: Error | undefined) => {
        if (error) log.warning(`systemd does not hear: ${error.message}`);
      };
      try {
        using ipvs = await platform.openIpvs();
        await runDaemon({
          config,
          ipvs,
          readConnections: () => Deno.readTextFile("/proc/net/ip_vs_conn"),
          now,
          signal,
          log,
          startDiscovery(queries, families, onEvent) {
            const discovery = openLog("discovery");
            return startDiscovery({
              queries,
              families,
              maxLifetime: config.zeroconfMaxTtl ?? Infinity,
              resolvers: config.dnsResolvers,
              listInterfaces: () => platform.listInterfaces(),
              watchSystem: platform.watchSystem,
              configurator: platform.configurator,
              onEvent,
              onNotice: (noticeLevel, text) => discovery[noticeLevel](text),
              now,
            });
          },
          onReady() {
            tell(platform.notifier.ready());
            log.info(`ready with the config of ${config.file}`);
          },
          onStatus: (status) => tell(platform.notifier.status(status)),
        });
      } catch (error) {
        if (error instanceof StartError) return Exit.unavailable;
        if (!isExpected(error)) throw error;
        log.error(error.message);
        return Exit.unavailable;
      }
      tell(platform.notifier.stopping());
      return Exit.ok;
    },
  };
}

/** Errors of the platform carry a message for the operator; anything else is a defect and crashes. */
function isExpected(error: unknown): error is Error {
  return error instanceof Error &&
    ["NetlinkError", "SocketError", "LibraryError"].includes(error.name);
}
