/**
 * Discovery as the daemon needs it: mDNS and unicast DNS, each only if somebody asks for it. [shell]
 *
 * @module
 */
import { type BrowseQuery, type DiscoveryQuery, isLocalDomain } from "../model/instance.ts";
import type { Nameserver } from "../model/nameserver.ts";
import { DnsDriver } from "./dns/driver.ts";
import { type DriverOptions, MdnsDriver } from "./mdns/driver.ts";

/** What discovery is handed. */
export interface DiscoveryOptions extends Omit<DriverOptions, "queries"> {
  readonly queries: readonly DiscoveryQuery[];
  /** Whom to ask by unicast DNS; empty: the resolvers of this machine. */
  readonly resolvers: readonly Nameserver[];
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
