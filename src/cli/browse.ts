/**
 * `klb browse`: what klb sees on the network. [shell]
 *
 * @module
 */
import { readServiceType } from "../config/values.ts";
import { MdnsDriver } from "../discovery/mdns/driver.ts";
import { formatEndpoint } from "../model/address.ts";
import {
  type BrowseQuery,
  type DiscoveryEvent,
  instanceKey,
  queryKey,
  type ServiceInstance,
} from "../model/instance.ts";
import { printable } from "../printable.ts";
import { parseArguments, UsageError } from "./args.ts";
import { type Command, Exit, type Terminal } from "./command.ts";
import type { Platform } from "./run.ts";

const help = `klb browse [TYPE] [--all] [--interface NAME] [--once] [--json]

Shows the instances that are announced by mDNS: a live view on a terminal, one line an event
elsewhere. TYPE is "http", "_http._tcp" or "_dns._udp"; without it, and with --all, every service
type that is present.

  --interface NAME  look on this interface only
  --once            print what is there when the initial queries are over (about 8 s), and end
  --json            one JSON object a line: time, event (found, changed, lost, service-type,
                    settled), service, name, label, interface, targets, txt, ttl (seconds left),
                    cause (goodbye, expired, interface)

Ends with Ctrl-C. Exit status: 0, or with --once 1 when nothing was found.`;

/** How often the live view is drawn. */
const frameInterval = 1000;

/** The name whose pointers are the service types that are present (RFC 6763 9). */
const typeEnumeration = "_services._dns-sd._udp";

interface Seen {
  readonly instance: ServiceInstance;
  readonly serviceType: string;
}

/** Makes the command; `openPlatform` is called only when it runs. */
export function browseCommand(openPlatform: () => Platform & Disposable): Command {
  return {
    name: "browse",
    summary: "show what is announced on the network",
    help,
    async run(args, { out, err, signal, terminal }) {
      const { values, positionals } = parseArguments(args, {
        all: { type: "boolean" },
        interface: { type: "string" },
        once: { type: "boolean" },
        json: { type: "boolean" },
      }, true);
      const [wanted, ...others] = positionals;
      if (others.length > 0) throw new UsageError(`unexpected argument ${others[0]}`);
      const all = wanted === undefined || values.all === true;
      const serviceType = all ? typeEnumeration : parseType(wanted);
      const interfaceName = (values.interface as string | undefined) ?? "";
      const query = (type: string): BrowseQuery => ({
        serviceType: type,
        domain: "local",
        interfaceName,
      });
      const types = new Map([[queryKey(query(serviceType)), serviceType]]);
      const unsettled = new Set(types.keys());
      const seen = new Map<string, Seen>();
      const settled = Promise.withResolvers<void>();
      const live = terminal !== undefined && !values.json && !values.once;
      const ended = new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve(), { once: true });
        if (signal.aborted) resolve();
      });
      /** What is told before the driver is there waits for it. */
      const early: DiscoveryEvent[] = [];
      const running: { driver?: MdnsDriver } = {};

      const handle = (event: DiscoveryEvent, driver: MdnsDriver) => {
        const type = types.get(event.query);
        if (type === undefined) return;
        const before = track(seen, event, type);
        if (event.type === "service-type" && !types.has(queryKey(query(event.serviceType)))) {
          const added = query(event.serviceType);
          types.set(queryKey(added), event.serviceType);
          unsettled.add(queryKey(added));
          driver.browse(added);
        } else if (event.type === "settled") {
          unsettled.delete(event.query);
          if (unsettled.size === 0) settled.resolve();
        }
        const name = event.type === "found" && before ? "changed" : event.type;
        if (values.json) out(JSON.stringify(describe(name, type, event, driver, before)));
        else if (!live && !values.once) out(eventLine(name, type, event, before));
      };

      using platform = openPlatform();
      await using driver = await MdnsDriver.start({
        queries: [query(serviceType)],
        families: new Set(["ipv4", "ipv6"]),
        maxLifetime: Infinity,
        listInterfaces: () => platform.listInterfaces(),
        watchSystem: platform.watchSystem,
        configurator: platform.configurator,
        onEvent: (event) => running.driver ? handle(event, running.driver) : early.push(event),
        onNotice: (level, text) => {
          if (level === "warning") err(`klb: ${printable(text)}`);
        },
        now: () => performance.now(),
      });
      running.driver = driver;
      for (const event of early.splice(0)) handle(event, driver);

      if (live) {
        await drawUntil(ended, () => out(frame(seen, types, driver, terminal)));
        return Exit.ok;
      }
      await (values.once ? Promise.race([settled.promise, ended]) : ended);
      if (values.once && !values.json) { for (const line of table(seen, driver)) out(line); }
      return values.once && seen.size === 0 ? Exit.failure : Exit.ok;
    },
  };
}

function parseType(text: string): string {
  let problem = `${text} is no service type`;
  const type = readServiceType(text, {
    dialect: "toml",
    lookUpPort: () => undefined,
    error(what, fix) {
      problem = `${what}; ${fix}`;
      return undefined;
    },
    warn() {},
  });
  if (type === undefined) throw new UsageError(problem);
  return type;
}

/** Keeps the picture; returns what was known of the instance before. */
function track(seen: Map<string, Seen>, event: DiscoveryEvent, type: string): Seen | undefined {
  if (event.type !== "found" && event.type !== "lost") return undefined;
  const { name, interfaceIndex } = event.type === "found" ? event.instance : event;
  const key = instanceKey(name, interfaceIndex);
  const before = seen.get(key);
  if (event.type === "found") seen.set(key, { instance: event.instance, serviceType: type });
  else seen.delete(key);
  return before;
}

async function drawUntil(ended: Promise<void>, draw: () => void): Promise<void> {
  draw();
  const timer = setInterval(draw, frameInterval);
  await ended;
  clearInterval(timer);
}

function frame(
  seen: ReadonlyMap<string, Seen>,
  types: ReadonlyMap<string, string>,
  driver: MdnsDriver,
  terminal: Terminal,
): string {
  const { columns, rows } = terminal.size();
  const interfaces = new Set([...seen.values()].map(({ instance }) => instance.interfaceName));
  const browsed = [...types.values()].filter((type) => type !== typeEnumeration);
  const head = `${seen.size} instances of ${browsed.length} service types` +
    (interfaces.size > 0 ? ` on ${[...interfaces].sort().join(", ")}` : "") + ". Ctrl-C ends.";
  const lines = [head, "", ...table(seen, driver)];
  const shown = lines.length > rows - 1
    ? [...lines.slice(0, rows - 2), `... and ${lines.length - rows + 2} more lines`]
    : lines;
  // Cursor home; each line clears what it leaves of the one before; then what is below.
  return "\x1b[H" +
    shown.map((line) => [...line].slice(0, columns).join("") + "\x1b[K").join("\n") +
    "\x1b[J";
}

/** The instances by service type and name, in columns. */
function table(seen: ReadonlyMap<string, Seen>, driver: MdnsDriver): string[] {
  const rows = [...seen.values()].sort((a, b) =>
    compare(a.serviceType, b.serviceType) || compare(a.instance.name, b.instance.name) ||
    a.instance.interfaceIndex - b.instance.interfaceIndex
  ).map(({ instance, serviceType }) => [
    serviceType,
    instance.label,
    instance.interfaceName,
    `${Math.ceil(driver.timeLeft(instance.name, instance.interfaceIndex) / 1000)} s`,
    describeTargets(instance),
    describeTxt(instance),
  ]);
  return columns([["TYPE", "INSTANCE", "INTERFACE", "TTL", "HOST AND ADDRESSES", "TXT"], ...rows]);
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const safe = rows.map((row) => row.map(printable));
  const widths = safe[0]!.map((_, i) => Math.max(...safe.map((row) => [...row[i]!].length)));
  return safe.map((row) =>
    row.map((cell, i) => cell + " ".repeat(widths[i]! - [...cell].length)).join("  ").trimEnd()
  );
}

function describeTargets({ targets }: ServiceInstance): string {
  return targets.map(({ host, port, addresses }) =>
    `${host}:${port} ${addresses.map((address) => formatEndpoint({ address, port })).join(" ")}`
  ).join("; ");
}

function describeTxt({ txt }: ServiceInstance): string {
  return [...txt].map(([key, value]) => value === null ? key : `${key}=${value}`).join(" ");
}

function eventLine(
  event: string,
  serviceType: string,
  told: DiscoveryEvent,
  before: Seen | undefined,
): string {
  const instance = told.type === "found" ? told.instance : before?.instance;
  const line = told.type === "service-type"
    ? `type     ${told.serviceType}`
    : told.type === "settled"
    ? `settled  ${serviceType}: the initial queries are over`
    : told.type === "lost"
    ? `lost     ${serviceType} "${
      instance?.label ?? told.name
    }" on ${instance?.interfaceName}: ${told.cause}`
    : `${
      event.padEnd(8)
    } ${serviceType} "${told.instance.label}" on ${told.instance.interfaceName}: ` +
      `${describeTargets(told.instance)} ${describeTxt(told.instance)}`;
  return printable(`${new Date().toISOString()} ${line.trimEnd()}`);
}

function describe(
  event: string,
  serviceType: string,
  told: DiscoveryEvent,
  driver: MdnsDriver,
  before: Seen | undefined,
): Record<string, unknown> {
  const base = { time: new Date().toISOString(), event, service: serviceType };
  switch (told.type) {
    case "settled":
      return base;
    case "service-type":
      return { ...base, service: told.serviceType };
    case "lost":
      return {
        ...base,
        name: told.name,
        label: before?.instance.label,
        interface: before?.instance.interfaceName,
        cause: told.cause,
      };
    case "found": {
      const { name, label, interfaceName, interfaceIndex, targets, txt } = told.instance;
      const ttl = Math.ceil(driver.timeLeft(name, interfaceIndex) / 1000);
      return {
        ...base,
        name,
        label,
        interface: interfaceName,
        targets,
        txt: Object.fromEntries(txt),
        ttl,
      };
    }
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
