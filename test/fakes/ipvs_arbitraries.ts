/**
 * Random virtual services, destinations and steps, for property tests.
 *
 * @module
 */
import { fc } from "../testing.ts";
import { ipFromBytes } from "../../src/model/address.ts";
import {
  type Destination,
  noTunnel,
  serviceFamily,
  ServiceFlag,
  type Tunnel,
  type VirtualService,
  type VirtualServiceId,
} from "../../src/model/ipvs.ts";
import type { Step } from "../../src/model/step.ts";
import { address, destination as makeDestination } from "./ipvs_objects.ts";

/** Records as the code makes them: strict equality looks at the prototype, too. */
function record<T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(fields, { noNullPrototype: true }) as fc.Arbitrary<T>;
}

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const port = fc.integer({ min: 0, max: 0xffff });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const ipv4 = bytes(4).map(ipFromBytes);
const ipv6 = bytes(16).map(ipFromBytes);

/** Any address of either family. */
export const anyIp = fc.oneof(ipv4, ipv6);

/** Any identity of a virtual service. */
export const anyServiceId: fc.Arbitrary<VirtualServiceId> = fc.oneof(
  record({
    kind: fc.constant("address" as const),
    protocol: fc.constantFrom("tcp" as const, "udp" as const, "sctp" as const),
    address: anyIp,
    port,
  }),
  record({
    kind: fc.constant("fwmark" as const),
    family: fc.constantFrom("ipv4" as const, "ipv6" as const),
    fwmark: fc.integer({ min: 1, max: 0xffffffff }),
  }),
);

const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,14}$/);

/** Any virtual service the model can say. */
export const anyService: fc.Arbitrary<VirtualService> = anyServiceId.chain((id) =>
  record({
    id: fc.constant(id),
    scheduler: name,
    flags: u32.map((flags) => (flags & ~ServiceFlag.hashed) >>> 0),
    persistenceTimeout: u32,
    persistencePrefix: serviceFamily(id) === "ipv4"
      ? fc.integer({ min: 0, max: 32 })
      : fc.integer({ min: 0, max: 128 }),
    persistenceEngine: fc.oneof(fc.constant(""), name),
  })
);

/** Any tunnel the model can say. */
export const anyTunnel: fc.Arbitrary<Tunnel> = fc.oneof(
  fc.constant(noTunnel),
  record({
    type: fc.constantFrom("ipip" as const, "gue" as const, "gre" as const),
    port,
    flags: port,
  }),
);

/** Any destination the model can say. */
export const anyDestination: fc.Arbitrary<Destination> = record({
  address: anyIp,
  port,
  forwarding: fc.constantFrom("masquerade", "direct", "tunnel", "local", "bypass"),
  weight: u32,
  upperThreshold: u32,
  lowerThreshold: u32,
  tunnel: anyTunnel,
});

const reason = "random";

/** Any step, on anything. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  record({
    op: fc.constantFrom("add-service", "edit-service"),
    service: anyService,
    reason: fc.constant(reason),
  }) as fc.Arbitrary<Step>,
  record({
    op: fc.constant("delete-service" as const),
    id: anyServiceId,
    reason: fc.constant(reason),
  }),
  record({
    op: fc.constantFrom("add-destination", "edit-destination"),
    id: anyServiceId,
    destination: anyDestination,
    reason: fc.constant(reason),
  }) as fc.Arbitrary<Step>,
  record({
    op: fc.constant("delete-destination" as const),
    id: anyServiceId,
    destination: record({ address: anyIp, port }),
    reason: fc.constant(reason),
  }),
);

// Few objects, so that steps meet.

const few: readonly VirtualServiceId[] = [
  address("192.0.2.1", 80),
  address("192.0.2.1", 80, "udp"),
  address("2001:db8::1", 443),
  { kind: "fwmark", family: "ipv4", fwmark: 7 },
  { kind: "fwmark", family: "ipv6", fwmark: 7 },
];

const fewServices: fc.Arbitrary<VirtualService> = fc.constantFrom(...few).chain((id) =>
  record({
    id: fc.constant(id),
    scheduler: fc.constantFrom("rr", "wrr", "sh", "none", "unheard-of"),
    flags: fc.constantFrom(0, 1, 4, 5, 0x18),
    persistenceTimeout: fc.constantFrom(0, 60, 3600),
    persistencePrefix: serviceFamily(id) === "ipv4"
      ? fc.constantFrom(0, 8, 24, 32)
      : fc.constantFrom(0, 64, 128),
    persistenceEngine: fc.constantFrom("", "", "", "sip", "unheard-of"),
  })
);

const fewDestinations: fc.Arbitrary<Destination> = record({
  address: fc.constantFrom(
    ...["10.0.0.1", "10.0.0.2", "fd00::1", "0.0.0.0", "fe80::1", "::"]
      .map((text) => makeDestination(text, 0).address),
  ),
  port: fc.constantFrom(0, 80, 8080),
  forwarding: fc.constantFrom("masquerade", "direct", "tunnel", "local", "bypass"),
  weight: fc.constantFrom(0, 1, 0x7fffffff, 0x80000000),
  upperThreshold: fc.constantFrom(0, 10),
  lowerThreshold: fc.constantFrom(0, 0, 5, 11),
  tunnel: fc.oneof(
    fc.constant(noTunnel),
    record({
      type: fc.constantFrom("ipip" as const, "gue" as const, "gre" as const),
      port: fc.constantFrom(0, 6080),
      flags: fc.constantFrom(0, 1, 2),
    }),
  ),
});

/** Steps on few objects, of which many meet, and some fail. */
export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    record({
      op: fc.constantFrom("add-service", "add-service", "edit-service"),
      service: fewServices,
      reason: fc.constant(reason),
    }) as fc.Arbitrary<Step>,
    record({
      op: fc.constantFrom(
        ...["add-destination", "add-destination", "edit-destination", "delete-destination"],
      ),
      id: fc.constantFrom(...few),
      destination: fewDestinations,
      reason: fc.constant(reason),
    }) as fc.Arbitrary<Step>,
    record({
      op: fc.constant("delete-service" as const),
      id: fc.constantFrom(...few),
      reason: fc.constant(reason),
    }),
  ),
  { maxLength: 60 },
);
