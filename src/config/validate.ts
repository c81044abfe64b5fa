/**
 * Raw settings of either dialect -> Config. What a setting means is decided here, once for both.
 *
 * @module
 */
import { type Endpoint, formatEndpoint } from "../model/address.ts";
import { isLocalDomain } from "../model/instance.ts";
import { formatPosition, type Place, type ProblemList, quote } from "./problem.ts";
import { type Config, type Dialect, type ServiceConfig, setting } from "./schema.ts";
import {
  durationReader,
  parseDuration,
  type PortLookup,
  readDomain,
  readEndpoint,
  type Reader,
  readInterface,
  readName,
  readResolver,
  readScheduler,
  readServiceType,
  readSrvName,
  type Report,
} from "./values.ts";

/** Stands for a value that was already reported as wrong: given, but not to be looked at. */
export const reported: unique symbol = Symbol("reported");

/** A value and where it is written. */
export interface RawValue extends Place {
  /** Text, {@link reported}, a list (of RawValue), or whatever else TOML has. */
  readonly value: unknown;
}

/** Settings by their names in the table, each with every time it was given, in order. */
export type RawSettings = ReadonlyMap<string, readonly RawValue[]>;

/** A service as written. */
export interface RawService extends Place {
  /** Where a missing setting is reported. */
  readonly end: Place;
  /** False where the syntax is so broken that missing settings may be there after all. */
  readonly complete: boolean;
  readonly settings: RawSettings;
}

/** A whole config as written, in either dialect. */
export interface RawConfig {
  readonly file: string;
  readonly dialect: Dialect;
  readonly settings: RawSettings;
  readonly services: readonly RawService[];
}

/**
 * Reads and checks every value.
 *
 * @param problems what is already known to be wrong; everything found here is added.
 * @throws {ConfigError} with every problem, when there is any.
 */
export function validate(raw: RawConfig, lookUpPort: PortLookup, problems: ProblemList): Config {
  const source: Source = { dialect: raw.dialect, lookUpPort, problems };
  const top = new SettingsReader(source, raw.settings, "");
  const zeroconfMaxTtl = top.duration("zeroconf_max_ttl");
  const dnsResolvers = top.list("dns_resolvers", readResolver).map(({ value }) => value);
  const drafts = raw.services.map((service, i) => readService(service, i, source));
  refuseSharedBinds(drafts, problems);
  const names = chooseNames(drafts, problems);
  if (raw.services.length === 0 && !problems.failed) {
    problems.error(
      { position: { file: raw.file, line: 1, column: 1 } },
      "no service is configured",
      raw.dialect === "legacy"
        ? 'add "service {", a bind, a zeroconf_service and "}", each on its own line'
        : "add a [[service]] table with a bind and a zeroconf_service",
    );
  }
  problems.throwIfFailed();
  return {
    file: raw.file,
    zeroconfMaxTtl: zeroconfMaxTtl ?? null,
    dnsResolvers,
    services: drafts.map(({ raw, binds, values }, i) => ({
      name: names[i]!,
      bind: binds.map(({ value }) => value),
      ...values,
      source: raw.position,
    })),
    warnings: problems.warnings,
  };
}

interface Source {
  readonly dialect: Dialect;
  readonly lookUpPort: PortLookup;
  readonly problems: ProblemList;
}

/** An item of a list, where it is written, and the path of its setting. */
interface Placed<T> {
  readonly value: T;
  readonly place: Place;
  readonly path: string;
}

/** A service whose own values are read, before it is compared with the others. */
interface Draft {
  readonly raw: RawService;
  readonly path: string;
  /** The name, where it is given. */
  readonly name: { readonly text: string; readonly place: Place } | undefined;
  readonly binds: readonly Placed<Endpoint>[];
  readonly values: Omit<ServiceConfig, "name" | "bind" | "source">;
}

function readService(raw: RawService, index: number, source: Source): Draft {
  const { problems, dialect } = source;
  const path = `service.${index}.`;
  const reader = new SettingsReader(source, raw.settings, path);
  if (raw.complete && !raw.settings.has("bind")) {
    problems.error(
      raw.end,
      "the service has no bind",
      `add ${example("bind", dialect)}, the address clients connect to`,
      `${path}bind`,
    );
  }
  if (raw.complete && !raw.settings.has("zeroconf_service") && !raw.settings.has("dns_srv")) {
    problems.warn(
      raw,
      "the service has no zeroconf_service, so it stays empty",
      `add ${example("zeroconf_service", dialect)}, the type its servers announce`,
      `${path}zeroconf_service`,
    );
  }
  checkSources(raw, path, problems);
  const name = reader.text("name", readName);
  return {
    raw,
    path,
    name: name === undefined ? name : { text: name, place: raw.settings.get("name")!.at(-1)! },
    binds: reader.list("bind", readEndpoint),
    values: {
      scheduler: reader.text("scheduler", readScheduler) ?? setting("scheduler").default!,
      zeroconfService: reader.text("zeroconf_service", readServiceType) ?? "",
      zeroconfDomain: reader.text("zeroconf_domain", readDomain) ?? "",
      zeroconfInterface: reader.text("zeroconf_interface", readInterface) ?? "",
      dnsSrv: reader.text("dns_srv", readSrvName) ?? "",
      drainTimeout: reader.duration("drain_timeout") ??
        parseDuration(setting("drain_timeout").default!)!,
    },
  };
}

/** Members come from one place: mDNS, the DNS-SD of a domain, or the SRV records of a name. */
function checkSources({ settings }: RawService, path: string, problems: ProblemList): void {
  const last = (name: string) => settings.get(name)?.at(-1);
  const unused = (name: string, why: string) => {
    const value = last(name);
    if (value) problems.warn(value, `${name} means nothing ${why}`, "leave it out", path + name);
  };
  const srv = last("dns_srv");
  const browsed = last("zeroconf_service");
  const domain = last("zeroconf_domain");
  if (srv) {
    if (browsed) {
      problems.error(
        srv,
        `the service has both dns_srv and zeroconf_service (${formatPosition(browsed.position)})`,
        "keep the one by which its members are found",
        `${path}dns_srv`,
      );
    }
    unused("zeroconf_domain", "beside dns_srv");
    unused("zeroconf_interface", "beside dns_srv");
  } else if (typeof domain?.value === "string" && !isLocalDomain(domain.value)) {
    unused("zeroconf_interface", `in ${quote(domain.value)}, which is asked by unicast DNS`);
  }
}

/** Two virtual services cannot have one address: the kernel would refuse the second. */
function refuseSharedBinds(drafts: readonly Draft[], problems: ProblemList): void {
  const seen = new Map<string, Placed<Endpoint>>();
  for (const bind of drafts.flatMap(({ binds }) => binds)) {
    const key = formatEndpoint(bind.value);
    const first = seen.get(key);
    if (!first) {
      seen.set(key, bind);
      continue;
    }
    problems.error(
      bind.place,
      `${key} is already bound at ${formatPosition(first.place.position)}`,
      "give each service an address and port of its own",
      bind.path,
    );
  }
}

/** Given names must be unique; the others get a number where they would not be. */
function chooseNames(drafts: readonly Draft[], problems: ProblemList): readonly string[] {
  const given = new Map<string, Place>();
  for (const { name, path } of drafts) {
    if (name === undefined) continue;
    const first = given.get(name.text);
    if (first) {
      problems.error(
        name.place,
        `the name ${quote(name.text)} is already taken at ${formatPosition(first.position)}`,
        "give each service a name of its own, or none",
        `${path}name`,
      );
    } else {
      given.set(name.text, name.place);
    }
  }
  const taken = new Set(given.keys());
  /** The last number each name got, so that thousands of equal ones take no quadratic time. */
  const numbers = new Map<string, number>();
  return drafts.map(({ name, binds, values }) => {
    if (name !== undefined) return name.text;
    const type = values.zeroconfService;
    const bind = binds[0];
    const base = type !== ""
      ? type.slice(1, type.indexOf("."))
      : values.dnsSrv !== ""
      ? values.dnsSrv.split(".").find((label) => !label.startsWith("_"))!
      : bind === undefined
      ? ""
      : formatEndpoint(bind.value);
    let chosen = base;
    let number = numbers.get(base) ?? 1;
    while (taken.has(chosen)) chosen = `${base}-${++number}`;
    numbers.set(base, number);
    taken.add(chosen);
    return chosen;
  });
}

/** Reads the settings of one scope, reporting each problem at its value. */
class SettingsReader {
  readonly #source: Source;
  readonly #settings: RawSettings;
  readonly #prefix: string;

  constructor(source: Source, settings: RawSettings, prefix: string) {
    this.#source = source;
    this.#settings = settings;
    this.#prefix = prefix;
  }

  /** What the last of the values means; undefined when there is none that can be used. */
  text<T>(name: string, read: Reader<T>): T | undefined {
    let result: T | undefined;
    const values = this.#settings.get(name) ?? [];
    for (const [i, raw] of values.entries()) {
      result = this.#one(name, raw, this.#prefix + name, read, i === values.length - 1);
    }
    return result;
  }

  duration(name: string): number | undefined {
    return this.text(name, durationReader(setting(name).range!));
  }

  /** What the items of a text or, in TOML, of a list of them mean; those that can be used. */
  list<T>(name: string, read: Reader<T>): readonly Placed<T>[] {
    const raw = this.#settings.get(name)?.at(-1);
    if (raw === undefined) return [];
    const path = this.#prefix + name;
    const list: readonly (readonly [RawValue, string])[] = Array.isArray(raw.value)
      ? raw.value.map((element: RawValue, i) => [element, `${path}.${i}`] as const)
      : [[raw, path]];
    if (list.length === 0) {
      this.#source.problems.error(
        raw,
        `${name} is an empty list`,
        `write ${example(name, this.#source.dialect)}`,
        path,
      );
    }
    return list.flatMap(([item, path]) => {
      const value = this.#one(name, item, path, read, true);
      return value === undefined ? [] : [{ value, place: item, path }];
    });
  }

  #one<T>(
    name: string,
    raw: RawValue,
    path: string,
    read: Reader<T>,
    counts: boolean,
  ): T | undefined {
    if (raw.value === reported) return undefined;
    const { dialect, lookUpPort, problems } = this.#source;
    const report: Report = {
      dialect,
      lookUpPort,
      error: (what, fix) => problems.error(raw, what, fix, path),
      warn: (what, fix) => {
        if (counts) problems.warn(raw, what, fix, path);
      },
    };
    if (typeof raw.value !== "string") {
      return report.error(
        `${name} must be text in double quotes, not ${kindOf(raw.value)}`,
        `write ${example(name, dialect)}`,
      );
    }
    if (raw.value === "") {
      return report.error(`${name} is empty`, `write ${example(name, dialect)}`);
    }
    // The old daemon did not look at schedulers when reading, so one that does not count may be
    // anything.
    if (!counts && name === "scheduler") return undefined;
    return read(raw.value, report);
  }
}

/** The setting as it would be written. */
function example(name: string, dialect: Dialect): string {
  return `${name}${dialect === "legacy" ? "" : " ="} "${setting(name).example}"`;
}

function kindOf(value: unknown): string {
  if (typeof value === "number" || typeof value === "bigint") return "a number";
  if (typeof value === "boolean") return "true or false";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Date) return "a date";
  return "a table";
}
