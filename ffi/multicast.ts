/**
 * Socket options for mDNS that Deno and Node do not offer: membership by interface index, no
 * packets of other sockets' groups, and a receive buffer that survives a burst.
 *
 * @module
 */
import { type Libc, Linux } from "./libc.ts";

/** A descriptor and the interface it is to serve. */
export interface MulticastSettings {
  readonly family: "ipv4" | "ipv6";
  readonly interfaceIndex: number;
  /** The group it is bound to: 4 or 16 bytes. */
  readonly group: Uint8Array;
  readonly port: number;
}

const IPPROTO_IP = 0;
const IP_MULTICAST_IF = 32;
const IP_MULTICAST_TTL = 33;
const IP_MULTICAST_LOOP = 34;
const IP_ADD_MEMBERSHIP = 35;
const IP_MULTICAST_ALL = 49;
const IPPROTO_IPV6 = 41;
const IPV6_MULTICAST_IF = 17;
const IPV6_MULTICAST_HOPS = 18;
const IPV6_MULTICAST_LOOP = 19;
const IPV6_ADD_MEMBERSHIP = 20;
const IPV6_MULTICAST_ALL = 29;

/** 200 responses of 3.8 kB in one burst need more than the default 208 KiB. */
const receiveBufferBytes = 4 << 20;

/** Descriptors of this process that are sockets. */
export function socketDescriptors(): Set<number> {
  const descriptors = new Set<number>();
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      if (Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith("socket:")) {
        descriptors.add(Number(name));
      }
    } catch {
      // The descriptor of the directory itself is gone by now.
    }
  }
  return descriptors;
}

/**
 * Sets the options on the socket that was opened since `before` was taken and is bound to the
 * group. Deno does not tell a datagram socket's descriptor, so it is found by its address.
 *
 * @throws {Error} naming what failed; the socket is not usable for its interface then.
 */
export function configureMulticast(
  libc: Libc,
  before: ReadonlySet<number>,
  settings: MulticastSettings,
): void {
  for (const descriptor of socketDescriptors()) {
    if (before.has(descriptor) || !isBoundTo(libc, descriptor, settings)) continue;
    configure(libc, descriptor, settings);
    return;
  }
  throw new Error("the new multicast socket is not among the open descriptors");
}

function isBoundTo(libc: Libc, descriptor: number, settings: MulticastSettings): boolean {
  const address = new Uint8Array(28);
  const length = new Uint32Array([address.length]);
  if (libc.symbols.getsockname(descriptor, address, new Uint8Array(length.buffer)) !== 0) {
    return false;
  }
  const view = new DataView(address.buffer);
  const v4 = settings.family === "ipv4";
  const start = v4 ? 4 : 8;
  return new Uint16Array(address.buffer, 0, 1)[0] === (v4 ? Linux.AF_INET : Linux.AF_INET6) &&
    view.getUint16(2) === settings.port &&
    settings.group.every((byte, i) => address[start + i] === byte);
}

function configure(libc: Libc, descriptor: number, settings: MulticastSettings): void {
  const set = (what: string, level: number, option: number, value: Int32Array | Uint8Array) => {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength) as Uint8Array<
      ArrayBuffer
    >;
    if (libc.symbols.setsockopt(descriptor, level, option, bytes, bytes.length) !== 0) {
      throw new Error(`${what} failed (errno ${libc.errno()})`);
    }
  };
  const number = (value: number) => Int32Array.of(value);
  // Forcing needs CAP_NET_ADMIN; the ordinary option stops at net.core.rmem_max.
  try {
    set("SO_RCVBUFFORCE", Linux.SOL_SOCKET, Linux.SO_RCVBUFFORCE, number(receiveBufferBytes));
  } catch {
    set("SO_RCVBUF", Linux.SOL_SOCKET, Linux.SO_RCVBUF, number(receiveBufferBytes));
  }
  if (settings.family === "ipv4") {
    // struct ip_mreqn: group, local address, interface index.
    const membership = new Uint8Array(12);
    membership.set(settings.group);
    new Int32Array(membership.buffer)[2] = settings.interfaceIndex;
    set("IP_MULTICAST_ALL", IPPROTO_IP, IP_MULTICAST_ALL, number(0));
    set("IP_ADD_MEMBERSHIP", IPPROTO_IP, IP_ADD_MEMBERSHIP, membership);
    set("IP_MULTICAST_IF", IPPROTO_IP, IP_MULTICAST_IF, membership);
    set("IP_MULTICAST_TTL", IPPROTO_IP, IP_MULTICAST_TTL, number(255));
    // A responder on the same host must hear us.
    set("IP_MULTICAST_LOOP", IPPROTO_IP, IP_MULTICAST_LOOP, number(1));
    return;
  }
  // struct ipv6_mreq: group, interface index.
  const membership = new Uint8Array(20);
  membership.set(settings.group);
  new Int32Array(membership.buffer)[4] = settings.interfaceIndex;
  set("IPV6_MULTICAST_ALL", IPPROTO_IPV6, IPV6_MULTICAST_ALL, number(0));
  set("IPV6_ADD_MEMBERSHIP", IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, membership);
  set("IPV6_MULTICAST_IF", IPPROTO_IPV6, IPV6_MULTICAST_IF, number(settings.interfaceIndex));
  set("IPV6_MULTICAST_HOPS", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, number(255));
  set("IPV6_MULTICAST_LOOP", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, number(1));
}
