/**
 * The IPVS family's messages: changes and requests out, virtual services and destinations in.
 *
 * Attributes and their types: include/uapi/linux/ip_vs.h; what the kernel does with them:
 * net/netfilter/ipvs/ip_vs_ctl.c (`ip_vs_genl_parse_service`, `ip_vs_genl_parse_dest`,
 * `ip_vs_genl_fill_service`, `ip_vs_genl_fill_dest`).
 *
 * @module
 */
import { type Family, type Ip, ipFromBytes, ipToBytes } from "../model/address.ts";
import {
  type Destination,
  type DestinationState,
  type Forwarding,
  noTunnel,
  type Protocol,
  serviceFamily,
  ServiceFlag,
  type Tunnel,
  type VirtualService,
  type VirtualServiceId,
} from "../model/ipvs.ts";
import type { Step } from "../model/step.ts";
import { genericHeaderLength } from "./genetlink.ts";
import {
  AttributeReader,
  DecodeError,
  MessageFlag,
  type MessageReader,
  type MessageWriter,
} from "./netlink.ts";

/** IPVS_GENL_NAME and IPVS_GENL_VERSION. */
export const familyName = "IPVS";
const familyVersion = 1;

/** IPVS_CMD_*. */
export const Command = {
  newService: 1,
  setService: 2,
  deleteService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  deleteDestination: 7,
  getDestination: 8,
  setInfo: 14,
  getInfo: 15,
  flush: 17,
} as const;

/** IPVS_CMD_ATTR_*, the first level. */
export const CommandAttribute = { service: 1, destination: 2 } as const;

/** IPVS_SVC_ATTR_*. */
export const ServiceAttribute = {
  family: 1,
  protocol: 2,
  address: 3,
  port: 4,
  fwmark: 5,
  scheduler: 6,
  flags: 7,
  timeout: 8,
  netmask: 9,
  persistenceEngine: 11,
} as const;

/** IPVS_DEST_ATTR_*. */
export const DestinationAttribute = {
  address: 1,
  port: 2,
  forwarding: 3,
  weight: 4,
  upperThreshold: 5,
  lowerThreshold: 6,
  activeConnections: 7,
  inactiveConnections: 8,
  persistentConnections: 9,
  family: 11,
  tunnelType: 13,
  tunnelPort: 14,
  tunnelFlags: 15,
} as const;

/** IPVS_INFO_ATTR_*. */
const InfoAttribute = { version: 1, connectionTableSize: 2 } as const;

/** AF_INET and AF_INET6. */
export const AddressFamily: Readonly<Record<Family, number>> = { ipv4: 2, ipv6: 10 };

/** IPPROTO_*. */
export const ProtocolNumber: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** IP_VS_CONN_F_* within IP_VS_CONN_F_FWD_MASK, by number. */
const forwardings: readonly Forwarding[] = ["masquerade", "local", "tunnel", "direct", "bypass"];
const forwardingNumbers: Readonly<Record<Forwarding, number>> = {
  masquerade: 0,
  local: 1,
  tunnel: 2,
  direct: 3,
  bypass: 4,
};

/** IP_VS_CONN_F_TUNNEL_TYPE_*, by number. */
const tunnelTypes: readonly Tunnel["type"][] = ["ipip", "gue", "gre"];

const allBits = 0xffffffff;

const commands: Readonly<Record<Step["op"], number>> = {
  "add-service": Command.newService,
  "edit-service": Command.setService,
  "delete-service": Command.deleteService,
  "add-destination": Command.newDestination,
  "edit-destination": Command.setDestination,
  "delete-destination": Command.deleteDestination,
};

/**
 * Where in a buffer the identity of a virtual service was written last. The steps of one virtual
 * service come in a row, and copying is much cheaper than writing.
 */
export interface LastService {
  id: VirtualServiceId | undefined;
  from: number;
  to: number;
}

/**
 * Writes a step as one message without NLM_F_ACK: the kernel answers only when it fails.
 *
 * @param familyId the IPVS family's number.
 * @param last what the steps before in the same buffer left; a new one for each buffer.
 * @throws {RangeError} for a name or an address that cannot be written; the message is unfinished then.
 */
export function encodeStep(
  writer: MessageWriter,
  familyId: number,
  sequence: number,
  step: Step,
  last?: LastService,
): void {
  begin(writer, familyId, MessageFlag.request, sequence, commands[step.op]);
  if ("service" in step) {
    const service = writer.beginNested(CommandAttribute.service);
    encodeServiceId(writer, step.service.id);
    encodeServiceFields(writer, step.service);
    writer.endNested(service);
  } else {
    const { id } = step;
    if (last !== undefined && last.id === id) {
      writer.repeat(last.from, last.to);
    } else {
      const from = writer.length;
      encodeService(writer, id);
      if (last !== undefined) {
        last.id = id;
        last.from = from;
        last.to = writer.length;
      }
    }
  }
  if ("destination" in step) {
    const destination = writer.beginNested(CommandAttribute.destination);
    encodeDestinationId(writer, step.destination.address, step.destination.port);
    if (step.op !== "delete-destination") encodeDestinationFields(writer, step.destination);
    writer.endNested(destination);
  }
  writer.endMessage();
}

/** Asks for all virtual services. */
export function encodeDumpServices(
  writer: MessageWriter,
  familyId: number,
  sequence: number,
): void {
  begin(
    writer,
    familyId,
    MessageFlag.request | MessageFlag.dump,
    sequence,
    Command.getService,
  );
  writer.endMessage();
}

/** Asks for all destinations of one virtual service. */
export function encodeDumpDestinations(
  writer: MessageWriter,
  familyId: number,
  sequence: number,
  id: VirtualServiceId,
): void {
  begin(
    writer,
    familyId,
    MessageFlag.request | MessageFlag.dump,
    sequence,
    Command.getDestination,
  );
  encodeService(writer, id);
  writer.endMessage();
}

/** Asks for one virtual service. */
export function encodeGetService(
  writer: MessageWriter,
  familyId: number,
  sequence: number,
  id: VirtualServiceId,
): void {
  begin(writer, familyId, MessageFlag.request, sequence, Command.getService);
  encodeService(writer, id);
  writer.endMessage();
}

/** Asks for the version and size of IPVS. Cheap: also the barrier behind which all is answered. */
export function encodeGetInfo(writer: MessageWriter, familyId: number, sequence: number): void {
  begin(writer, familyId, MessageFlag.request, sequence, Command.getInfo);
  writer.endMessage();
}

/**
 * The virtual service in the message the reader stands at. Undefined where it is of a kind this
 * program does not know: a newer kernel's, and certainly not made by us.
 *
 * @throws {DecodeError} when attributes are malformed.
 */
export function decodeService(message: MessageReader): VirtualService | undefined {
  const { view } = message;
  const nest = findNested(message, CommandAttribute.service);
  if (!nest) return undefined;
  let family = 0;
  let protocolNumber = 0;
  let fwmark = 0;
  let address: Uint8Array | undefined;
  let port = 0;
  let scheduler = "";
  let flags = 0;
  let persistenceTimeout = 0;
  let netmask = 0;
  let netmaskBe = 0;
  let persistenceEngine = "";
  const attribute = new AttributeReader(view, nest.start, nest.end);
  while (attribute.next()) {
    switch (attribute.type) {
      case ServiceAttribute.family:
        family = attribute.uint();
        break;
      case ServiceAttribute.protocol:
        protocolNumber = attribute.uint();
        break;
      case ServiceAttribute.address:
        address = attribute.bytes();
        break;
      case ServiceAttribute.port:
        port = attribute.u16be();
        break;
      case ServiceAttribute.fwmark:
        fwmark = attribute.uint();
        break;
      case ServiceAttribute.scheduler:
        scheduler = attribute.text();
        break;
      case ServiceAttribute.flags:
        // struct ip_vs_flags: the flags, and a mask that is all ones in what the kernel reports.
        flags = attribute.uint();
        break;
      case ServiceAttribute.timeout:
        persistenceTimeout = attribute.uint();
        break;
      case ServiceAttribute.netmask:
        netmask = attribute.uint();
        netmaskBe = attribute.u32be();
        break;
      case ServiceAttribute.persistenceEngine:
        persistenceEngine = attribute.text();
        break;
    }
  }
  const ipFamily = decodeFamily(family);
  if (!ipFamily) return undefined;
  let id: VirtualServiceId;
  if (fwmark !== 0) {
    id = { kind: "fwmark", family: ipFamily, fwmark };
  } else {
    const protocol = decodeProtocol(protocolNumber);
    if (!protocol || !address) return undefined;
    id = { kind: "address", protocol, address: decodeAddress(ipFamily, address), port };
  }
  return {
    id,
    scheduler,
    flags: (flags & ~ServiceFlag.hashed) >>> 0,
    persistenceTimeout,
    persistencePrefix: ipFamily === "ipv4" ? prefixOfMask(netmaskBe) : netmask,
    persistenceEngine,
  };
}

/**
 * The destination in the message the reader stands at. Undefined where it is of a kind this program
 * does not know.
 *
 * @param family of the virtual service asked for: kernels before 3.18 do not name the destination's.
 * @throws {DecodeError} when attributes are malformed.
 */
export function decodeDestination(
  message: MessageReader,
  family: Family,
): DestinationState | undefined {
  const { view } = message;
  const nest = findNested(message, CommandAttribute.destination);
  if (!nest) return undefined;
  let familyNumber = AddressFamily[family];
  let address: Uint8Array | undefined;
  let port = 0;
  let forwardingNumber = 0;
  let weight = 0;
  let upperThreshold = 0;
  let lowerThreshold = 0;
  let activeConnections = 0;
  let inactiveConnections = 0;
  let persistentConnections = 0;
  let tunnelType = 0;
  let tunnelPort = 0;
  let tunnelFlags = 0;
  const attribute = new AttributeReader(view, nest.start, nest.end);
  while (attribute.next()) {
    switch (attribute.type) {
      case DestinationAttribute.address:
        address = attribute.bytes();
        break;
      case DestinationAttribute.port:
        port = attribute.u16be();
        break;
      case DestinationAttribute.forwarding:
        forwardingNumber = attribute.uint();
        break;
      case DestinationAttribute.weight:
        weight = attribute.uint();
        break;
      case DestinationAttribute.upperThreshold:
        upperThreshold = attribute.uint();
        break;
      case DestinationAttribute.lowerThreshold:
        lowerThreshold = attribute.uint();
        break;
      case DestinationAttribute.activeConnections:
        activeConnections = attribute.uint();
        break;
      case DestinationAttribute.inactiveConnections:
        inactiveConnections = attribute.uint();
        break;
      case DestinationAttribute.persistentConnections:
        persistentConnections = attribute.uint();
        break;
      case DestinationAttribute.family:
        familyNumber = attribute.uint();
        break;
      case DestinationAttribute.tunnelType:
        tunnelType = attribute.uint();
        break;
      case DestinationAttribute.tunnelPort:
        tunnelPort = attribute.u16be();
        break;
      case DestinationAttribute.tunnelFlags:
        tunnelFlags = attribute.uint();
        break;
    }
  }
  const ipFamily = decodeFamily(familyNumber);
  const forwarding = forwardings[forwardingNumber];
  const type = tunnelTypes[tunnelType];
  if (!ipFamily || !address || !forwarding || !type) return undefined;
  return {
    destination: {
      address: decodeAddress(ipFamily, address),
      port,
      forwarding,
      weight,
      upperThreshold,
      lowerThreshold,
      tunnel: tunnelType === 0 && tunnelPort === 0 && tunnelFlags === 0
        ? noTunnel
        : { type, port: tunnelPort, flags: tunnelFlags },
    },
    counters: { activeConnections, inactiveConnections, persistentConnections },
  };
}

/** What the kernel says about IPVS as a whole. */
export interface IpvsInfo {
  /** `1.2.1`. */
  readonly version: string;
  /** Number of buckets of the connection hash table (`ip_vs.conn_tab_bits`). */
  readonly connectionTableSize: number;
}

/** The answer to {@link encodeGetInfo}. */
export function decodeInfo(message: MessageReader): IpvsInfo {
  let version = 0;
  let connectionTableSize = 0;
  const attribute = new AttributeReader(
    message.view,
    message.payload + genericHeaderLength,
    message.end,
  );
  while (attribute.next()) {
    if (attribute.type === InfoAttribute.version) version = attribute.uint();
    else if (attribute.type === InfoAttribute.connectionTableSize) {
      connectionTableSize = attribute.uint();
    }
  }
  return {
    version: `${version >>> 16 & 0xff}.${version >>> 8 & 0xff}.${version & 0xff}`,
    connectionTableSize,
  };
}

function begin(
  writer: MessageWriter,
  familyId: number,
  flags: number,
  sequence: number,
  command: number,
): void {
  writer.beginMessage(familyId, flags, sequence);
  writer.genericHeader(command, familyVersion);
}

/** The virtual service a request is about, without its settings. */
function encodeService(writer: MessageWriter, id: VirtualServiceId): void {
  const service = writer.beginNested(CommandAttribute.service);
  encodeServiceId(writer, id);
  writer.endNested(service);
}

function encodeServiceId(writer: MessageWriter, id: VirtualServiceId): void {
  writer.u16(ServiceAttribute.family, AddressFamily[serviceFamily(id)]);
  if (id.kind === "fwmark") {
    // 0 would be read as "no mark", and make a virtual service for TCP 0.0.0.0:0.
    if (id.fwmark === 0) throw new RangeError("firewall mark 0 means none");
    writer.u32(ServiceAttribute.fwmark, id.fwmark);
    return;
  }
  writer.u16(ServiceAttribute.protocol, ProtocolNumber[id.protocol]);
  encodeAddress(writer, ServiceAttribute.address, id.address);
  writer.u16be(ServiceAttribute.port, id.port);
}

function encodeServiceFields(writer: MessageWriter, service: VirtualService): void {
  writer.text(ServiceAttribute.scheduler, service.scheduler);
  // HASHED tells the kernel that the service is in its table already: it would never be found.
  const flags = service.flags & ~ServiceFlag.hashed;
  // All flags become what is configured, whatever they were.
  writer.u32pair(ServiceAttribute.flags, flags, allBits);
  writer.u32(ServiceAttribute.timeout, service.persistenceTimeout);
  if (serviceFamily(service.id) === "ipv4") {
    writer.u32be(ServiceAttribute.netmask, maskOfPrefix(service.persistencePrefix));
  } else {
    writer.u32(ServiceAttribute.netmask, service.persistencePrefix);
  }
  // Absent removes it on an edit.
  if (service.persistenceEngine !== "") {
    writer.text(ServiceAttribute.persistenceEngine, service.persistenceEngine);
  }
}

function encodeDestinationId(writer: MessageWriter, address: Ip, port: number): void {
  const v4 = encodeAddress(writer, DestinationAttribute.address, address);
  writer.u16be(DestinationAttribute.port, port);
  // Without it an IPv6 destination of an IPv4 service would be cut to four bytes without an error.
  writer.u16(DestinationAttribute.family, v4 ? 2 : 10);
}

/** Returns whether it is an IPv4 address. */
function encodeAddress(writer: MessageWriter, type: number, address: Ip): boolean {
  // By hand and not by ipToBytes: most addresses are IPv4, and there are two in each message.
  let number = 0;
  let part = 0;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === 0x2e) {
      number = number << 8 | part;
      part = 0;
    } else if (code >= 0x30 && code <= 0x39) {
      part = part * 10 + code - 0x30;
    } else {
      writer.binary(type, ipToBytes(address));
      return false;
    }
  }
  writer.u32be(type, number << 8 | part);
  return true;
}

function encodeDestinationFields(writer: MessageWriter, destination: Destination): void {
  writer.u32(DestinationAttribute.forwarding, forwardingNumbers[destination.forwarding]);
  writer.u32(DestinationAttribute.weight, destination.weight);
  writer.u32(DestinationAttribute.upperThreshold, destination.upperThreshold);
  writer.u32(DestinationAttribute.lowerThreshold, destination.lowerThreshold);
  const { tunnel } = destination;
  // Absent resets them, to just this.
  if (tunnel.type === "ipip" && tunnel.port === 0 && tunnel.flags === 0) return;
  writer.u8(DestinationAttribute.tunnelType, tunnelTypes.indexOf(tunnel.type));
  writer.u16be(DestinationAttribute.tunnelPort, tunnel.port);
  writer.u16(DestinationAttribute.tunnelFlags, tunnel.flags);
}

function findNested(
  message: MessageReader,
  type: number,
): { readonly start: number; readonly end: number } | undefined {
  const { view, payload, end } = message;
  const attribute = new AttributeReader(view, payload + genericHeaderLength, end);
  while (attribute.next()) {
    if (attribute.type === type) return attribute;
  }
  return undefined;
}

function decodeFamily(number: number): Family | undefined {
  return number === 2 ? "ipv4" : number === 10 ? "ipv6" : undefined;
}

function decodeProtocol(number: number): Protocol | undefined {
  return number === 6 ? "tcp" : number === 17 ? "udp" : number === 132 ? "sctp" : undefined;
}

/** The kernel reports 16 bytes for both families; 4 would do for IPv4. */
function decodeAddress(family: Family, bytes: Uint8Array): Ip {
  const length = family === "ipv4" ? 4 : 16;
  if (bytes.length < length) {
    throw new DecodeError(`${family} address of ${bytes.length} bytes`);
  }
  return ipFromBytes(bytes.length === length ? bytes : bytes.subarray(0, length));
}

/** 24 becomes 0xffffff00. */
function maskOfPrefix(prefix: number): number {
  return prefix === 0 ? 0 : (allBits << (32 - prefix)) >>> 0;
}

/** The leading ones of a mask; ipvsadm accepts masks with holes, of which the rest is not kept. */
function prefixOfMask(mask: number): number {
  return Math.clz32(~mask);
}
