/**
 * The kernel's objects: virtual services and destinations, as configured and as observed.
 *
 * Names and meanings follow include/uapi/linux/ip_vs.h and ipvsadm(8).
 *
 * @module
 */
import { type Family, formatEndpoint, type Ip } from "./address.ts";

/** Transport protocols IPVS balances. */
export type Protocol = "tcp" | "udp" | "sctp";

/**
 * How packets reach a destination. `masquerade`, `direct` and `tunnel` are what an operator chooses;
 * `local` and `bypass` appear only in what the kernel reports.
 */
export type Forwarding = "masquerade" | "direct" | "tunnel" | "local" | "bypass";

/** IP_VS_SVC_F_* bits an operator may set (uapi/linux/ip_vs.h). HASHED is the kernel's own. */
export const ServiceFlag = {
  persistent: 0x1,
  hashed: 0x2,
  onePacket: 0x4,
  scheduler1: 0x8,
  scheduler2: 0x10,
  scheduler3: 0x20,
} as const;

/** What identifies a virtual service: an address and port, or a firewall mark. */
export type VirtualServiceId =
  | {
    readonly kind: "address";
    readonly protocol: Protocol;
    readonly address: Ip;
    readonly port: number;
  }
  | { readonly kind: "fwmark"; readonly family: Family; readonly fwmark: number };

/** A virtual service as configured. */
export interface VirtualService {
  readonly id: VirtualServiceId;
  /** Name of the scheduler module without `ip_vs_`, 1-15 characters. */
  readonly scheduler: string;
  /** {@link ServiceFlag} bits without `hashed`. */
  readonly flags: number;
  /** Seconds a client stays with its destination; meaningful with `ServiceFlag.persistent`. */
  readonly persistenceTimeout: number;
  /** Prefix length by which clients are grouped for persistence; 32 or 128 means each alone. */
  readonly persistencePrefix: number;
  /** Persistence engine (`sip`), or empty. */
  readonly persistenceEngine: string;
}

/** How a tunnel destination is encapsulated (kernel 5.2 and newer). */
export interface Tunnel {
  readonly type: "ipip" | "gue" | "gre";
  /** UDP port of GUE; 0 otherwise. */
  readonly port: number;
  /** IP_VS_TUNNEL_ENCAP_FLAG_* bits. */
  readonly flags: number;
}

/** A destination as configured. */
export interface Destination {
  readonly address: Ip;
  readonly port: number;
  readonly forwarding: Forwarding;
  /** 0 to 2^31-1; 0 means quiesced: no new connections. */
  readonly weight: number;
  /** New connections stop above this many; 0 means no limit. */
  readonly upperThreshold: number;
  /** They start again below this many; 0 means three quarters of the upper one. */
  readonly lowerThreshold: number;
  readonly tunnel: Tunnel;
}

/** Connections the kernel counts for a destination at the moment it is read. */
export interface DestinationCounters {
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  readonly persistentConnections: number;
}

/** A destination as read from the kernel: what is configured, and what was observed. */
export interface DestinationState {
  readonly destination: Destination;
  readonly counters: DestinationCounters;
}

/** A virtual service as read from the kernel, with its destinations by {@link destinationKey}. */
export interface VirtualServiceState {
  readonly service: VirtualService;
  readonly destinations: ReadonlyMap<string, DestinationState>;
}

/** The IPVS table by {@link serviceKey}. */
export type KernelState = ReadonlyMap<string, VirtualServiceState>;

/** No tunnel: what every destination that is not one carries. */
export const noTunnel: Tunnel = Object.freeze({ type: "ipip", port: 0, flags: 0 });

/** The family of the addresses clients use to reach this virtual service. */
export function serviceFamily(id: VirtualServiceId): Family {
  return id.kind === "fwmark" ? id.family : id.address.includes(":") ? "ipv6" : "ipv4";
}

/** Stable text that identifies a virtual service: `tcp 192.0.2.1:80` or `fwmark 7 ipv4`. */
export function serviceKey(id: VirtualServiceId): string {
  return id.kind === "fwmark"
    ? `fwmark ${id.fwmark} ${id.family}`
    : `${id.protocol} ${formatEndpoint(id)}`;
}

/** Stable text that identifies a destination within its virtual service: `192.0.2.7:8080`. */
export const destinationKey: (
  destination: { readonly address: Ip; readonly port: number },
) => string = formatEndpoint;

/** True when both are configured the same; the ids are not compared. */
export function sameService(a: VirtualService, b: VirtualService): boolean {
  return a.scheduler === b.scheduler && a.flags === b.flags &&
    a.persistenceTimeout === b.persistenceTimeout &&
    a.persistencePrefix === b.persistencePrefix &&
    a.persistenceEngine === b.persistenceEngine;
}

/** True when both are configured the same; the addresses are not compared. */
export function sameDestination(a: Destination, b: Destination): boolean {
  return a.weight === b.weight && a.forwarding === b.forwarding &&
    a.upperThreshold === b.upperThreshold && a.lowerThreshold === b.lowerThreshold &&
    a.tunnel.type === b.tunnel.type && a.tunnel.port === b.tunnel.port &&
    a.tunnel.flags === b.tunnel.flags;
}
