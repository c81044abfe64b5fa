/**
 * The config: what it holds once it is read, and the one table of its settings.
 *
 * Everything that must know the settings by name (both dialects, suggestions, reference pages) reads
 * {@link settings}.
 *
 * @module
 */
import type { Endpoint } from "../model/address.ts";
import type { Nameserver } from "../model/nameserver.ts";
import { nearest } from "../suggest.ts";
import { type Problem, quote, type SourcePosition } from "./problem.ts";

export { ConfigError, formatPosition, formatProblem, formatWarning } from "./problem.ts";
export type { Problem, SourcePosition } from "./problem.ts";

/** One configured service: the virtual services it makes, and where its members are found. */
export interface ServiceConfig {
  /** Unique. Where not given: `foo` of `_foo._tcp`, else the first bind. */
  readonly name: string;
  /** Addresses clients connect to; at least one, no two services share one. */
  readonly bind: readonly Endpoint[];
  /** IPVS scheduler, without `ip_vs_`. */
  readonly scheduler: string;
  /** `_foo._tcp`; empty: nothing is discovered. */
  readonly zeroconfService: string;
  /** DNS-SD domain as written; empty: not given, which means `local`. */
  readonly zeroconfDomain: string;
  /** Interface to discover on; empty: every suitable one. */
  readonly zeroconfInterface: string;
  /** Name whose SRV records are the members, without the final dot; empty: none. */
  readonly dnsSrv: string;
  /** Longest time a leaving member keeps its connections, in milliseconds. */
  readonly drainTimeout: number;
  /** Where the service is written. */
  readonly source: SourcePosition;
}

/** A config that can be used. */
export interface Config {
  /** The file it was read from. */
  readonly file: string;
  /**
   * Longest time an mDNS record is believed without being confirmed, in milliseconds; null: as long
   * as its announcer says.
   */
  readonly zeroconfMaxTtl: number | null;
  /** Whom to ask by unicast DNS; empty: those of /etc/resolv.conf. */
  readonly dnsResolvers: readonly Nameserver[];
  /** At least one, in the order they are written. */
  readonly services: readonly ServiceConfig[];
  /** What is probably not meant as it is written; sorted by position. */
  readonly warnings: readonly Problem[];
}

/** The two syntaxes: the old daemon's, and TOML. */
export type Dialect = "legacy" | "toml";

/** What a setting holds; each has its reader in values.ts. */
export type SettingType =
  | "name"
  | "endpoints"
  | "scheduler"
  | "service type"
  | "srv name"
  | "resolvers"
  | "domain"
  | "interface"
  | "duration";

/** One row of {@link settings}. */
export interface Setting {
  readonly name: string;
  /** Older spellings, in the legacy dialect only. */
  readonly aliases: readonly string[];
  /** Beside the services, or inside one. */
  readonly scope: "top" | "service";
  readonly type: SettingType;
  readonly dialects: readonly Dialect[];
  /** As it would be written; null: none, the documentation says what happens. */
  readonly default: string | null;
  /** A value as it would be written, for messages and the reference. */
  readonly example: string;
  /** Smallest and largest duration, as written. */
  readonly range?: readonly [string, string];
  /** True where the legacy dialect refuses it twice in a block; elsewhere the last one counts. */
  readonly once: boolean;
  /** One line for the reference. */
  readonly doc: string;
}

const both: readonly Dialect[] = ["legacy", "toml"];

/** Every setting there is. */
export const settings: readonly Setting[] = [
  {
    name: "zeroconf_max_ttl",
    aliases: [],
    scope: "top",
    type: "duration",
    dialects: both,
    default: null,
    example: "20s",
    range: ["2s", "168h"],
    once: false,
    doc:
      "Longest time an mDNS record is believed without being confirmed; without it, as long as " +
      "its announcer says.",
  },
  {
    name: "dns_resolvers",
    aliases: [],
    scope: "top",
    type: "resolvers",
    dialects: both,
    default: null,
    example: "192.0.2.53",
    once: false,
    doc:
      "DNS server to ask for domains other than local and for dns_srv, port 53 unless given; in " +
      "TOML also a list of them. Without it those of /etc/resolv.conf.",
  },
  {
    name: "name",
    aliases: [],
    scope: "service",
    type: "name",
    dialects: ["toml"],
    default: null,
    example: "web",
    once: false,
    doc:
      "What logs and commands call the service; without it, the name in zeroconf_service, else " +
      "the first bind.",
  },
  {
    name: "bind",
    aliases: [],
    scope: "service",
    type: "endpoints",
    dialects: both,
    default: null,
    example: "192.0.2.10:80",
    once: true,
    doc: "Address and port clients connect to; in TOML also a list of them. Required.",
  },
  {
    name: "scheduler",
    aliases: [],
    scope: "service",
    type: "scheduler",
    dialects: both,
    default: "rr",
    example: "rr",
    once: false,
    doc: "IPVS scheduler: how connections are spread over the members.",
  },
  {
    name: "zeroconf_service",
    aliases: ["zeroconf_type"],
    scope: "service",
    type: "service type",
    dialects: both,
    default: null,
    example: "foo",
    once: false,
    doc: "DNS-SD service type the members announce; foo means _foo._tcp. Without it and dns_srv " +
      "the service stays empty.",
  },
  {
    name: "zeroconf_domain",
    aliases: [],
    scope: "service",
    type: "domain",
    dialects: both,
    default: null,
    example: "local",
    once: true,
    doc: "DNS-SD domain to look in; without it local, which is mDNS. Any other is asked by " +
      "unicast DNS.",
  },
  {
    name: "zeroconf_interface",
    aliases: [],
    scope: "service",
    type: "interface",
    dialects: both,
    default: null,
    example: "eth0",
    once: false,
    doc: "Network interface to look on by mDNS; without it every suitable one.",
  },
  {
    name: "dns_srv",
    aliases: [],
    scope: "service",
    type: "srv name",
    dialects: both,
    default: null,
    example: "_http._tcp.web.service.consul",
    once: false,
    doc: "Instead of zeroconf_service: a name whose SRV records, asked by unicast DNS, are the " +
      "members.",
  },
  {
    name: "drain_timeout",
    aliases: [],
    scope: "service",
    type: "duration",
    dialects: both,
    default: "5m",
    example: "5m",
    range: ["0s", "168h"],
    once: false,
    doc: "Longest time a leaving member keeps its open connections.",
  },
];

/** The IPVS schedulers of the kernel (net/netfilter/ipvs/Kconfig). */
export const schedulers: readonly string[] = [
  "rr",
  "wrr",
  "lc",
  "wlc",
  "lblc",
  "lblcr",
  "dh",
  "sh",
  "sed",
  "nq",
  "fo",
  "ovf",
  "mh",
];

/** The row with this name. */
export function setting(name: string): Setting {
  const row = settings.find((row) => row.name === name);
  if (!row) throw new RangeError(`no setting is called ${name}`);
  return row;
}

/** The row a dialect means by this spelling in this scope, if any. */
export function findSetting(
  spelling: string,
  scope: Setting["scope"],
  dialect: Dialect,
): Setting | undefined {
  return settings.find((row) =>
    row.scope === scope && row.dialects.includes(dialect) &&
    (row.name === spelling || dialect === "legacy" && row.aliases.includes(spelling))
  );
}

/** What is wrong with a spelling that {@link findSetting} does not find. */
export interface UnknownSetting {
  readonly what: string;
  readonly fix: string;
  /** The setting of the same scope that was probably meant. */
  readonly meant: Setting | undefined;
}

/** Explains a spelling that {@link findSetting} does not find. */
export function explainUnknown(
  spelling: string,
  scope: Setting["scope"],
  dialect: Dialect,
): UnknownSetting {
  const noun = dialect === "legacy" ? "option" : "setting";
  const block = dialect === "legacy" ? "a service block" : "[[service]]";
  const elsewhere = findSetting(spelling, scope === "top" ? "service" : "top", dialect);
  if (elsewhere) {
    return scope === "top"
      ? {
        what: `${quote(spelling)} stands outside of ${block}`,
        fix: `move it into ${block}`,
        meant: undefined,
      }
      : {
        what: `${quote(spelling)} stands inside ${block}`,
        fix: dialect === "legacy" ? "move it out of the block" : "move it above the first table",
        meant: undefined,
      };
  }
  const what = `unknown ${noun} ${quote(spelling)}`;
  const renamed = settings.find((row) => row.aliases.includes(spelling));
  if (renamed) return { what, fix: `it is called ${quote(renamed.name)} here`, meant: renamed };
  const known = settings.filter((row) => row.dialects.includes(dialect));
  const here = known.filter((row) => row.scope === scope).map((row) => row.name);
  if (scope === "top") here.push("service");
  // A setting of the other scope is still worth suggesting: being misplaced is the next message.
  const near = nearest(spelling.toLowerCase(), here) ??
    nearest(spelling.toLowerCase(), known.map((row) => row.name));
  return {
    what,
    fix: near ? `did you mean ${quote(near)}?` : `${noun}s here are ${here.join(", ")}`,
    meant: near === undefined ? undefined : findSetting(near, scope, dialect),
  };
}
