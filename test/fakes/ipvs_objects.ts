/**
 * Short ways to say virtual services, destinations and steps.
 *
 * @module
 */
import {
  type Destination,
  noTunnel,
  type Protocol,
  type VirtualService,
  type VirtualServiceId,
} from "../../src/model/ipvs.ts";
import type { Step } from "../../src/model/step.ts";
import { ip } from "./instances.ts";

export { ip };

/** `address("192.0.2.1", 80)` is TCP. */
export function address(text: string, port: number, protocol: Protocol = "tcp"): VirtualServiceId {
  return { kind: "address", protocol, address: ip(text), port };
}

/** A round-robin virtual service, changed as said. */
export function service(
  id: VirtualServiceId,
  change: Partial<VirtualService> = {},
): VirtualService {
  const v6 = id.kind === "fwmark" ? id.family === "ipv6" : id.address.includes(":");
  return {
    id,
    scheduler: "rr",
    flags: 0,
    persistenceTimeout: 0,
    persistencePrefix: v6 ? 128 : 32,
    persistenceEngine: "",
    ...change,
  };
}

/** A masqueraded destination of weight 1, changed as said. */
export function destination(
  text: string,
  port: number,
  change: Partial<Destination> = {},
): Destination {
  return {
    address: ip(text),
    port,
    forwarding: "masquerade",
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnel: noTunnel,
    ...change,
  };
}

const reason = "test";

/** Steps without their reasons. */
export const step = {
  addService: (service: VirtualService): Step => ({ op: "add-service", service, reason }),
  editService: (service: VirtualService): Step => ({ op: "edit-service", service, reason }),
  deleteService: (id: VirtualServiceId): Step => ({ op: "delete-service", id, reason }),
  add: (id: VirtualServiceId, destination: Destination): Step => ({
    op: "add-destination",
    id,
    destination,
    reason,
  }),
  edit: (id: VirtualServiceId, destination: Destination): Step => ({
    op: "edit-destination",
    id,
    destination,
    reason,
  }),
  delete: (id: VirtualServiceId, destination: Destination): Step => ({
    op: "delete-destination",
    id,
    destination: { address: destination.address, port: destination.port },
    reason,
  }),
};
