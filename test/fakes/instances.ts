/**
 * Instances and events for tests, from the few things a test cares about.
 *
 * @module
 */
import { type Ip, parseIp } from "../../src/model/address.ts";
import type { DepartureCause, DiscoveryEvent, Target } from "../../src/model/instance.ts";

/** The query all events made here belong to. */
export const testQuery = "_foo._tcp.local%";

/** An address that must be one. */
export function ip(text: string): Ip {
  const address = parseIp(text);
  if (!address) throw new TypeError(`not an address: ${text}`);
  return address;
}

/** One SRV target; `addresses` as text. */
export function target(port: number, addresses: readonly string[], host = "host.local"): Target {
  return { host, port, priority: 0, weight: 0, addresses: addresses.map(ip) };
}

/** `label` was found, or is different now. */
export function found(
  label: string,
  targets: readonly Target[],
  interfaceIndex = 2,
  query = testQuery,
): DiscoveryEvent {
  return {
    type: "found",
    query,
    instance: {
      name: `${label}._foo._tcp.local`,
      label,
      interfaceIndex,
      interfaceName: `eth${interfaceIndex}`,
      targets,
      txt: new Map(),
    },
  };
}

/** `label` is lost. */
export function lost(
  label: string,
  cause: DepartureCause = "goodbye",
  interfaceIndex = 2,
  query = testQuery,
): DiscoveryEvent {
  return { type: "lost", query, name: `${label}._foo._tcp.local`, interfaceIndex, cause };
}

/** Discovery had its chance. */
export function settled(query = testQuery): DiscoveryEvent {
  return { type: "settled", query };
}
