/**
 * The members of one service in one address family, from what discovery tells.
 *
 * The same address and port announced by several instances, or seen through several interfaces, is
 * one member with several sources; it departs with the last of them.
 *
 * @module
 */
import {
  type Endpoint,
  type Family,
  familyOf,
  formatEndpoint,
  type Ip,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isUnspecified,
} from "../model/address.ts";
import {
  type DepartureCause,
  type DiscoveryEvent,
  instanceKey,
  type ServiceInstance,
  type Target,
} from "../model/instance.ts";

/** An announcement that makes a member. */
export interface Source {
  readonly label: string;
  readonly interfaceName: string;
  /** SRV priority: lower is preferred (RFC 2782). */
  readonly priority: number;
  /** SRV weight: share within a priority. */
  readonly weight: number;
  readonly txt: ServiceInstance["txt"];
}

/** An address and port that may serve. */
export interface Member {
  readonly endpoint: Endpoint;
  /** By instance, interface and SRV target; never empty. */
  readonly sources: ReadonlyMap<string, Source>;
}

/** Why and when a member departed. `moved`: its instance now names another address or port. */
export interface Departure {
  readonly endpoint: Endpoint;
  readonly cause: DepartureCause | "moved";
  /** The last announcement it had. */
  readonly source: Source;
}

interface Claim {
  readonly key: string;
  readonly source: Source;
  /** The SRV target it comes from: the address is kept while this target still has it. */
  readonly target: string;
  readonly endpoint: Endpoint;
}

/** See the module. */
export class Pool {
  readonly #family: Family;
  readonly #members = new Map<string, { endpoint: Endpoint; sources: Map<string, Source> }>();
  readonly #departures = new Map<string, Departure>();
  readonly #claims = new Map<string, Claim[]>();
  #settled = false;

  constructor(family: Family) {
    this.#family = family;
  }

  /** Members by `ADDRESS:PORT`. */
  get members(): ReadonlyMap<string, Member> {
    return this.#members;
  }

  /** Members that departed and have not come back, by `ADDRESS:PORT`. */
  get departures(): ReadonlyMap<string, Departure> {
    return this.#departures;
  }

  /** Discovery had its chance: what is no member now is not there. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Takes in an event; true when members, departures or `settled` changed. */
  handle(event: DiscoveryEvent): boolean {
    switch (event.type) {
      case "found":
        return this.#claim(event.instance);
      case "lost": {
        const key = instanceKey(event.name, event.interfaceIndex);
        const claims = this.#claims.get(key) ?? [];
        this.#claims.delete(key);
        for (const claim of claims) this.#release(claim, event.cause);
        return claims.length > 0;
      }
      case "service-type":
        return false;
      case "settled": {
        const changed = !this.#settled;
        this.#settled = true;
        return changed;
      }
    }
  }

  /** Forgets why a member departed, once that matters no more. */
  forgetDeparture(endpoint: string): void {
    this.#departures.delete(endpoint);
  }

  #claim(instance: ServiceInstance): boolean {
    const key = instanceKey(instance.name, instance.interfaceIndex);
    const before = this.#claims.get(key) ?? [];
    const after: Claim[] = [];
    const { label, interfaceName, txt } = instance;
    for (const target of instance.targets) {
      const { priority, weight } = target;
      const name = `${target.host}:${target.port}`;
      const current = before.find((claim) => claim.target === name)?.endpoint.address;
      const address = this.#choose(target, current);
      if (address === undefined) continue;
      const endpoint = { address, port: target.port };
      const claimKey = `${key} ${name} ${address}`;
      if (!after.some((claim) => claim.key === claimKey)) {
        const source = { label, interfaceName, priority, weight, txt };
        after.push({ key: claimKey, source, target: name, endpoint });
      }
    }
    if (after.length > 0) this.#claims.set(key, after);
    else this.#claims.delete(key);
    const kept = new Set(after.map((claim) => claim.key));
    let changed = false;
    // Arrivals first: an instance that moves is never without a member.
    for (const claim of after) {
      changed = this.#add(claim) || changed;
    }
    // With nothing in its place, its last address ran out; a goodbye would have lost the instance.
    const cause = after.length > 0 ? "moved" : "expired";
    for (const claim of before) {
      if (kept.has(claim.key)) continue;
      this.#release(claim, cause);
      changed = true;
    }
    return changed;
  }

  #add(claim: Claim): boolean {
    const endpoint = formatEndpoint(claim.endpoint);
    const member = this.#members.get(endpoint);
    if (member) {
      const known = member.sources.get(claim.key);
      member.sources.set(claim.key, claim.source);
      return !known || !sameSource(known, claim.source);
    }
    this.#members.set(endpoint, {
      endpoint: claim.endpoint,
      sources: new Map([[claim.key, claim.source]]),
    });
    this.#departures.delete(endpoint);
    return true;
  }

  #release(claim: Claim, cause: Departure["cause"]): void {
    const endpoint = formatEndpoint(claim.endpoint);
    const member = this.#members.get(endpoint);
    const source = member?.sources.get(claim.key);
    if (!member || !source) return;
    member.sources.delete(claim.key);
    if (member.sources.size > 0) return;
    this.#members.delete(endpoint);
    this.#departures.set(endpoint, { endpoint: claim.endpoint, cause, source });
  }

  /**
   * One address of a host serves, so that a host with three does not get three shares. The current
   * one is kept while it is announced; otherwise the first routable one, else an IPv4 link-local.
   */
  #choose(target: Target, current: Ip | undefined): Ip | undefined {
    const usable = target.addresses.filter((address) =>
      familyOf(address) === this.#family && isUsable(address)
    );
    if (current !== undefined && usable.includes(current)) return current;
    return usable.find((address) => !isLinkLocal(address)) ?? usable[0];
  }
}

/** What the kernel accepts as a destination; it refuses IPv6 link-local ones (EINVAL). */
function isUsable(address: Ip): boolean {
  return !isLoopback(address) && !isUnspecified(address) && !isMulticast(address) &&
    address !== "255.255.255.255" && !(isLinkLocal(address) && familyOf(address) === "ipv6");
}

function sameSource(a: Source, b: Source): boolean {
  return a.priority === b.priority && a.weight === b.weight && a.label === b.label &&
    a.txt.size === b.txt.size && [...a.txt].every(([key, value]) => b.txt.get(key) === value);
}
