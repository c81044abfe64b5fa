/**
 * What a table becomes by steps that succeeded: the daemon's view between two reads of the kernel.
 *
 * @module
 */
import {
  destinationKey,
  type DestinationState,
  serviceKey,
  type VirtualServiceState,
} from "../model/ipvs.ts";
import { type Step, stepServiceId } from "../model/step.ts";

const noConnections = { activeConnections: 0, inactiveConnections: 0, persistentConnections: 0 };

/** Applies steps to `table` in place. Steps on objects that are not there change nothing. */
export function applySteps(table: Map<string, VirtualServiceState>, steps: Iterable<Step>): void {
  for (const step of steps) {
    const key = serviceKey(stepServiceId(step));
    const present = table.get(key);
    if (step.op === "delete-service") {
      table.delete(key);
      continue;
    }
    if ("service" in step) {
      table.set(key, { service: step.service, destinations: present?.destinations ?? new Map() });
      continue;
    }
    if (!present) continue;
    const destinations = present.destinations as Map<string, DestinationState>;
    const destination = destinationKey(step.destination);
    if (step.op === "delete-destination") {
      destinations.delete(destination);
    } else {
      destinations.set(destination, {
        destination: step.destination,
        counters: destinations.get(destination)?.counters ?? noConnections,
      });
    }
  }
}
