/**
 * The steps that lead from what the kernel holds to what it should hold.
 *
 * A destination that is no longer desired is never deleted under its connections: it is quiesced
 * (weight 0), watched, and deleted when idle or when its time is up. All of that follows from the
 * kernel's own state plus one time stamp per draining destination, so a restart loses nothing.
 *
 * @module
 */
import {
  type Destination,
  type DestinationState,
  sameDestination,
  sameService,
  type VirtualService,
  type VirtualServiceState,
} from "../model/ipvs.ts";
import type { Step } from "../model/step.ts";
import type { DesiredService } from "./desired.ts";

/** When each draining destination of a virtual service was quiesced, by destination key. */
export type Drains = ReadonlyMap<string, number>;

/** What a plan is made from besides the desired state. */
export interface Observation {
  /** The virtual service as the kernel holds it; undefined where it does not. */
  readonly actual: VirtualServiceState | undefined;
  /** When its connection counters were read, in monotonic milliseconds. */
  readonly readAt: number;
  readonly drains: Drains;
  /**
   * By destination key, how many of the inactive connections have ended and are kept by the kernel
   * for stray packets only; counted after the counters were read. Absent: unknown.
   */
  readonly ended?: ReadonlyMap<string, number>;
}

/** The outcome of planning one virtual service. */
export interface Plan {
  readonly steps: readonly Step[];
  /** Destinations that drain once the steps are done. */
  readonly drains: Drains;
  /** When to read the counters and plan again because of a drain; Infinity if none is needed. */
  readonly recheckAt: number;
}

/**
 * A goodbye may be taken back for one second (RFC 6762 10.1), so nothing is deleted sooner; the
 * same second is how often connection counters are read.
 */
export const drainInterval = 1000;

/** Plans one virtual service. `now` is in monotonic milliseconds. */
export function planService(desired: DesiredService, observed: Observation, now: number): Plan {
  const { service } = desired;
  const { actual } = observed;
  const steps: Step[] = [];
  const drains = new Map<string, number>();
  let recheckAt = Infinity;

  if (!actual) {
    steps.push({ op: "add-service", service, reason: "it is configured and not in the kernel" });
  } else if (!sameService(actual.service, service)) {
    steps.push({ op: "edit-service", service, reason: describeEdit(actual.service, service) });
  }

  for (const [key, { destination, reason }] of desired.destinations) {
    const present = actual?.destinations.get(key)?.destination;
    if (!present) {
      steps.push({ op: "add-destination", id: service.id, destination, reason });
    } else if (!sameDestination(present, destination)) {
      steps.push({ op: "edit-destination", id: service.id, destination, reason });
    }
  }

  for (const [key, state] of actual?.destinations ?? []) {
    if (desired.destinations.has(key)) continue;
    const departure = desired.departures.get(key);
    if (departure === undefined && !desired.settled) continue;
    const reason = departure ?? "nobody announces it";
    const since = observed.drains.get(key) ?? now;
    const { destination } = state;
    if (destination.weight !== 0) {
      drains.set(key, now);
      recheckAt = Math.min(recheckAt, now + drainInterval);
      steps.push({
        op: "edit-destination",
        id: service.id,
        destination: quiesced(destination),
        reason: `${reason}; its connections may end`,
      });
      continue;
    }
    const ended = observed.ended?.get(key) ?? 0;
    const verdict = drainVerdict(state, ended, since, observed.readAt, desired.drainTimeout, now);
    if (verdict === undefined) {
      drains.set(key, since);
      recheckAt = Math.min(recheckAt, Math.max(now, since) + drainInterval);
      continue;
    }
    steps.push({
      op: "delete-destination",
      id: service.id,
      destination,
      reason: `${reason}; ${verdict}`,
    });
  }
  return { steps, drains, recheckAt };
}

/** Why a quiesced destination may go now, or undefined while it may not. */
function drainVerdict(
  { counters }: DestinationState,
  ended: number,
  since: number,
  readAt: number,
  timeout: number,
  now: number,
): string | undefined {
  if (now - since < drainInterval) return undefined;
  const { activeConnections, inactiveConnections, persistentConnections } = counters;
  const connections = activeConnections + Math.max(0, inactiveConnections - ended);
  // Counters from before it was quiesced say nothing: connections may have come in between.
  if (readAt > since && connections + persistentConnections === 0) {
    return inactiveConnections === 0 ? "it is idle" : "its connections have ended";
  }
  if (now - since < timeout) return undefined;
  return `its drain time of ${timeout / 1000} s is over, with ${connections} connections left`;
}

function quiesced(destination: Destination): Destination {
  return { ...destination, weight: 0 };
}

function describeEdit(before: VirtualService, after: VirtualService): string {
  const changes: string[] = [];
  if (before.scheduler !== after.scheduler) {
    changes.push(`scheduler ${before.scheduler} becomes ${after.scheduler}`);
  }
  if (before.flags !== after.flags) {
    changes.push(`flags 0x${before.flags.toString(16)} become 0x${after.flags.toString(16)}`);
  }
  if (
    before.persistenceTimeout !== after.persistenceTimeout ||
    before.persistencePrefix !== after.persistencePrefix
  ) {
    changes.push("persistence differs from the config");
  }
  if (before.persistenceEngine !== after.persistenceEngine) {
    changes.push(
      `persistence engine ${before.persistenceEngine || "none"} becomes ${
        after.persistenceEngine || "none"
      }`,
    );
  }
  return changes.join(", ");
}
