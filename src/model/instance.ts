/**
 * What discovery knows: service instances (DNS-SD) and what happens to them.
 *
 * @module
 */
import type { Ip } from "./address.ts";

/** What is browsed: a service type in a domain, on one interface or on all. */
export interface BrowseQuery {
  /** `_foo._tcp`. */
  readonly serviceType: string;
  /** `local` for mDNS. */
  readonly domain: string;
  /** Interface name, or empty for every suitable one. */
  readonly interfaceName: string;
}

/** A name whose SRV records are looked up by unicast DNS, each one an instance (RFC 2782). */
export interface SrvQuery {
  /** `_http._tcp.web.service.consul`, without the final dot. */
  readonly srvName: string;
}

/** What discovery can be asked for. */
export type DiscoveryQuery = BrowseQuery | SrvQuery;

/** One SRV record of an instance with the addresses of its host (RFC 2782, RFC 6763 5). */
export interface Target {
  /** SRV target, escaped, without the final dot. */
  readonly host: string;
  readonly port: number;
  /** Lower is preferred. */
  readonly priority: number;
  /** Share within a priority. */
  readonly weight: number;
  /** Addresses of the host, sorted; IPv6 link-local ones belong to the instance's interface. */
  readonly addresses: readonly Ip[];
}

/** A resolved instance as seen through one interface: PTR, SRV and at least one address are known. */
export interface ServiceInstance {
  /** Full DNS-SD name in escaped presentation form, without the final dot. */
  readonly name: string;
  /** The instance label unescaped, for people: `Mr. Printer v1.0`. */
  readonly label: string;
  /** 0 and `dns` for what unicast DNS told. */
  readonly interfaceIndex: number;
  readonly interfaceName: string;
  /** At least one; sorted by priority, host and port. */
  readonly targets: readonly Target[];
  /** TXT by RFC 6763 6.4: lower-cased key; `null` is a key without a value. */
  readonly txt: ReadonlyMap<string, string | null>;
}

/**
 * Why an instance is no longer there. `goodbye`: its announcer said so (TTL 0). `expired`: nobody
 * refreshed it, or DNS knows nothing of the kind any more, which may be a fault. `interface`: the
 * interface it was seen through is gone. `withdrawn`: DNS lists others and no longer this one, which
 * somebody did on purpose: as good as a goodbye.
 */
export type DepartureCause = "goodbye" | "expired" | "interface" | "withdrawn";

/** What the browser tells the pool. */
export type DiscoveryEvent =
  | {
    /** New, or changed in any way: replaces what was known under the same name and interface. */
    readonly type: "found";
    readonly query: string;
    readonly instance: ServiceInstance;
  }
  | {
    readonly type: "lost";
    readonly query: string;
    readonly name: string;
    readonly interfaceIndex: number;
    readonly cause: DepartureCause;
  }
  | {
    /** Somebody announces this service type; told only to who enumerates them (RFC 6763 9). */
    readonly type: "service-type";
    readonly query: string;
    /** `_http._tcp`. */
    readonly serviceType: string;
  }
  | {
    /**
     * The initial query schedule has run on every interface, or unicast DNS has answered every
     * question: what was not found is not there.
     */
    readonly type: "settled";
    readonly query: string;
  };

/** True for the domain of mDNS (RFC 6762 3), which is meant too where none is given. */
export function isLocalDomain(domain: string): boolean {
  return /^(local\.?)?$/i.test(domain);
}

/** Stable text that identifies a query. */
export function queryKey(query: DiscoveryQuery): string {
  return "srvName" in query
    ? `srv ${query.srvName}`
    : `${query.serviceType}.${query.domain}%${query.interfaceName}`;
}

/** Stable text that identifies an instance as seen through one interface. */
export function instanceKey(name: string, interfaceIndex: number): string {
  return `${name}%${interfaceIndex}`;
}
