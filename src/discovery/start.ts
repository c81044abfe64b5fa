/**
 * Discovery as the daemon needs it: mDNS and unicast DNS, each only if somebody asks for it. [shell]
 *
 * @module
 */
import type { Family } from "../model/address.ts";
import {
  type BrowseQuery,
  type DiscoveryEvent,
  type DiscoveryQuery,
  isLocalDomain,
} from "../model/instance.ts";
import type { Nameserver } from "../model/nameserver.ts";
import { DnsDriver } from "./dns/driver.ts";
import { MdnsDriver, type SystemInterface, type SystemWatch } from "./mdns/driver.ts";
import type { SocketConfigurator } from "./mdns/sockets.ts";

/** What discovery is handed. */
export interface DiscoveryOptions {
  readonly queries: readonly DiscoveryQuery[];
  /** Families whose addresses matter. */
  readonly families: ReadonlySet<Family>;
  /** Milliseconds an mDNS record is believed at the most; Infinity lets the announcer decide. */
  readonly maxLifetime: number;
  /** Whom to ask by unicast DNS; empty: the resolvers of this machine. */
  readonly resolvers: readonly Nameserver[];
  readonly listInterfaces: () => readonly SystemInterface[];
  readonly watchSystem: SystemWatch;
  readonly configurator: SocketConfigurator;
  /** Called for each event, on the event loop. */
  readonly onEvent: (event: DiscoveryEvent) => void;
  /** Called with what a person should know. */
  readonly onNotice: (level: "info" | "warning" | "debug", text: string) => void;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** Starts to look for everything that is asked for; it ends when what is returned is disposed. */
export async function startDiscovery(options: DiscoveryOptions): Promise<AsyncDisposable> {
  const multicast = options.queries.filter(isMulticast);
  const unicast = options.queries.filter((query) => !isMulticast(query));
  await using started = new AsyncDisposableStack();
  if (unicast.length > 0) started.use(DnsDriver.start({ ...options, queries: unicast }));
  if (multicast.length > 0) {
    started.use(await MdnsDriver.start({ ...options, queries: multicast }));
  }
  return started.move();
}

function isMulticast(query: DiscoveryQuery): query is BrowseQuery {
  return !("srvName" in query) && isLocalDomain(query.domain);
}
