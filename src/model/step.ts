/**
 * The smallest changes the planner asks of the kernel.
 *
 * @module
 */
import type { Endpoint } from "./address.ts";
import {
  type Destination,
  destinationKey,
  serviceKey,
  type VirtualService,
  type VirtualServiceId,
} from "./ipvs.ts";

/** One change to the IPVS table, with the reason a person will read in the log. */
export type Step =
  | {
    readonly op: "add-service" | "edit-service";
    readonly service: VirtualService;
    readonly reason: string;
  }
  | { readonly op: "delete-service"; readonly id: VirtualServiceId; readonly reason: string }
  | {
    readonly op: "add-destination" | "edit-destination";
    readonly id: VirtualServiceId;
    readonly destination: Destination;
    readonly reason: string;
  }
  | {
    readonly op: "delete-destination";
    readonly id: VirtualServiceId;
    readonly destination: Endpoint;
    readonly reason: string;
  };

/** The virtual service a step is about. */
export function stepServiceId(step: Step): VirtualServiceId {
  return "service" in step ? step.service.id : step.id;
}

/** `tcp 192.0.2.1:80` or `tcp 192.0.2.1:80 -> 192.0.2.7:8080`: the object a step is about. */
export function stepObject(step: Step): string {
  const service = serviceKey(stepServiceId(step));
  return "destination" in step ? `${service} -> ${destinationKey(step.destination)}` : service;
}
