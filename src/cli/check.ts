/**
 * `klb check`: says whether a config is right, and shows how it is understood. [shell]
 *
 * @module
 */
import { loadConfig } from "../config/load.ts";
import {
  type Config,
  ConfigError,
  formatProblem,
  formatWarning,
  type Problem,
  type SourcePosition,
} from "../config/schema.ts";
import { formatDuration } from "../config/values.ts";
import { formatEndpoint } from "../model/address.ts";
import { formatNameserver } from "../model/nameserver.ts";
import { parseArguments } from "./args.ts";
import { type Command, type CommandContext, Exit } from "./command.ts";

/** Checks a config without touching the network or the kernel. */
export const checkCommand: Command = {
  name: "check",
  summary: "check a config file",
  help: `Usage: klb check [--config FILE] [--json]

Reads the config as "klb run" would, and reports everything that is wrong with it, one problem a
line: FILE:LINE:COLUMN: what is wrong; what would be right. Nothing is changed anywhere.

Options:
  --config FILE  the config; default /etc/klb/klb.toml, else /etc/cm4all/klb/klb.conf.
                 A file named .toml is TOML, any other has the syntax of klb.conf.
  --json         print the config as understood, or the problems, as JSON on standard output

Exit status: 0 the config can be used, perhaps with warnings; 78 it cannot.`,
  run(args: readonly string[], context: CommandContext): Promise<number> {
    // Synchronous, but a wrong command line must reject like that of any other command.
    return Promise.try(runCheck, args, context);
  },
};

function runCheck(args: readonly string[], { out, err }: CommandContext): number {
  const { values } = parseArguments(args, {
    config: { type: "string" },
    json: { type: "boolean" },
  });
  let config: Config;
  try {
    config = loadConfig(values.config as string | undefined);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    error.problems.map(formatProblem).forEach(err);
    if (values.json) out(toText({ errors: error.problems.map(problemToJson) }));
    return Exit.config;
  }
  config.warnings.map(formatWarning).forEach(err);
  out(values.json ? toText(configToJson(config)) : summarize(config));
  return Exit.ok;
}

function summarize({ file, services, warnings }: Config): string {
  const count = (n: number, noun: string) => `${n} ${noun}${n === 1 ? "" : "s"}`;
  return `${file}: OK, ${count(services.length, "service")}` +
    (warnings.length > 0 ? `, ${count(warnings.length, "warning")}` : "");
}

/** The config in the words of its settings: durations and endpoints as they would be written. */
export function configToJson(config: Config): Record<string, unknown> {
  return {
    file: config.file,
    zeroconf_max_ttl: config.zeroconfMaxTtl === null ? null : formatDuration(config.zeroconfMaxTtl),
    dns_resolvers: config.dnsResolvers.map(formatNameserver),
    services: config.services.map((service) => ({
      name: service.name,
      bind: service.bind.map(formatEndpoint),
      scheduler: service.scheduler,
      zeroconf_service: service.zeroconfService,
      zeroconf_domain: service.zeroconfDomain,
      zeroconf_interface: service.zeroconfInterface,
      dns_srv: service.dnsSrv,
      drain_timeout: formatDuration(service.drainTimeout),
      source: positionToJson(service.source),
    })),
    warnings: config.warnings.map(problemToJson),
  };
}

function problemToJson(problem: Problem): Record<string, unknown> {
  return {
    ...positionToJson(problem.position),
    included_from: (problem.includedFrom ?? []).map(positionToJson),
    setting: problem.setting ?? null,
    what: problem.what,
    fix: problem.fix,
  };
}

function positionToJson({ file, line, column }: SourcePosition): Record<string, unknown> {
  return { file, line, column };
}

function toText(value: unknown): string {
  return JSON.stringify(value, null, 2);
}
