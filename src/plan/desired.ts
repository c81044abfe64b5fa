/**
 * What the kernel should hold, from config and pool.
 *
 * @module
 */
import { type Endpoint, familyOf, formatEndpoint } from "../model/address.ts";
import { type Destination, noTunnel, type VirtualService } from "../model/ipvs.ts";
import type { Departure, Pool, Source } from "../pool/pool.ts";

/** What an operator configured for one virtual service. */
export interface VirtualServiceSettings {
  readonly bind: Endpoint;
  readonly scheduler: string;
}

/** A destination that should be there, and why. */
export interface DesiredDestination {
  readonly destination: Destination;
  readonly reason: string;
}

/** One virtual service as it should be. */
export interface DesiredService {
  readonly service: VirtualService;
  readonly destinations: ReadonlyMap<string, DesiredDestination>;
  /** Why a destination that is not desired left, where that is known. */
  readonly departures: ReadonlyMap<string, string>;
  /** False: a destination nobody announced yet may still be announced, and stays. */
  readonly settled: boolean;
  /** Milliseconds a destination may take to lose its connections. */
  readonly drainTimeout: number;
}

/** The virtual service that settings ask for. */
export function desiredVirtualService(settings: VirtualServiceSettings): VirtualService {
  const { address, port } = settings.bind;
  return {
    id: { kind: "address", protocol: "tcp", address, port },
    scheduler: settings.scheduler,
    flags: 0,
    persistenceTimeout: 0,
    persistencePrefix: familyOf(address) === "ipv4" ? 32 : 128,
    persistenceEngine: "",
  };
}

/** One virtual service with the members of its pool as destinations. */
export function desiredService(
  settings: VirtualServiceSettings,
  pool: Pool,
  drainTimeout: number,
): DesiredService {
  const destinations = new Map<string, DesiredDestination>();
  for (const [key, member] of pool.members) {
    const sources = [...member.sources.values()];
    destinations.set(key, {
      destination: {
        ...member.endpoint,
        forwarding: "masquerade",
        weight: 1,
        upperThreshold: 0,
        lowerThreshold: 0,
        tunnel: noTunnel,
      },
      reason: describeSources(sources),
    });
  }
  const departures = new Map<string, string>();
  for (const [key, departure] of pool.departures) departures.set(key, describeDeparture(departure));
  return {
    service: desiredVirtualService(settings),
    destinations,
    departures,
    settled: pool.settled,
    drainTimeout,
  };
}

/** For a log line: who announces a member. */
function describeSources(sources: readonly Source[]): string {
  const first = sources[0]!;
  const others = sources.length > 1 ? ` and ${sources.length - 1} more` : "";
  return `announced as "${first.label}" on ${first.interfaceName}${others}`;
}

/** For a log line: why a member departed. */
function describeDeparture({ cause, source, endpoint }: Departure): string {
  switch (cause) {
    case "goodbye":
      return `"${source.label}" said goodbye on ${source.interfaceName}`;
    case "expired":
      return `"${source.label}" was no longer announced on ${source.interfaceName}`;
    case "interface":
      return `interface ${source.interfaceName}, through which "${source.label}" was seen, is gone`;
    case "withdrawn":
      return `DNS no longer lists "${source.label}"`;
    case "moved":
      return `"${source.label}" no longer names ${formatEndpoint(endpoint)}`;
  }
}
