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
  readonly interfaceIndex: number;
  readonly interfaceName: string;
  /** At least one; sorted by priority, host and port. */
  readonly targets: readonly Target[];
  /** TXT by RFC 6763 6.4: lower-cased key; `null` is a key without a value. */
  readonly txt: ReadonlyMap<string, string | null>;
}

/**
 * Why an instance is no longer there. `goodbye`: its announcer said so (TTL 0). `expired`: nobody
 * refreshed it. `interface`: the interface it was seen through is gone.
 */
export type DepartureCause = "goodbye" | "expired" | "interface";

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
    /** The initial query schedule has run on every interface: what was not found is not there. */
    readonly type: "settled";
    readonly query: string;
  };

/** Stable text that identifies a query. */
export function queryKey(query: BrowseQuery): string {
  return `${query.serviceType}.${query.domain}%${query.interfaceName}`;
}

/** Stable text that identifies an instance as seen through one interface. */
export function instanceKey(name: string, interfaceIndex: number): string {
  return `${name}%${interfaceIndex}`;
}
