/**
 * The part of rtnetlink(7) that builds a topology: links, addresses, routes.
 *
 * @module
 */
import { type Ip, ipToBytes } from "../../src/model/address.ts";
import { check, closeDescriptor, inNamespace, libcSymbols, SystemCallError } from "./linux.ts";

const RTM = { newLink: 16, delLink: 17, newAddress: 20, delAddress: 21, newRoute: 24 } as const;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const NLMSG_ERROR = 2;
const IFF_UP = 1;
const IFF_MULTICAST = 0x1000;
const IFLA = { name: 3, mtu: 4, master: 10, linkInfo: 18, netNsFd: 28 } as const;
const IFLA_INFO = { kind: 1, data: 2 } as const;
const VETH_INFO_PEER = 1;
const IFLA_BR_MCAST_SNOOPING = 23;
const IFLA_BR_MCAST_QUERIER = 25;
const IFA = { address: 1, local: 2, flags: 8 } as const;
const IFA_F_NODAD = 2;
const RTA = { destination: 1, oif: 4, gateway: 5 } as const;

/** An address with its prefix length, as in `ip address add`. */
export interface Prefixed {
  readonly address: Ip;
  readonly length: number;
}

// Indexes are chosen here and never used twice, so that nothing need be read back.
let nextIndex = 100;

/** A fresh interface index. */
export function newIndex(): number {
  return nextIndex++;
}

/** Talks to the kernel about the links of one network namespace. */
export class RtNetlink implements Disposable {
  readonly #socket: number;
  readonly #where: string;
  #sequence = 0;

  constructor(namespacePath: string) {
    this.#where = namespacePath;
    // AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE
    this.#socket = inNamespace(
      namespacePath,
      () => check(libcSymbols().socket(16, 3 | 0o2000000, 0), "socket"),
    );
  }

  /** Adds a veth pair; `peer.namespace` is the descriptor of the namespace of its other end. */
  addVeth(
    end: { name: string; index: number },
    peer: { name: string; index: number; namespace: number },
  ): void {
    const other = concat(
      linkHeader(peer.index, 0, 0),
      attribute(IFLA.name, text(peer.name)),
      attribute(IFLA.netNsFd, u32(peer.namespace)),
    );
    this.#request(
      `add veth ${end.name}`,
      RTM.newLink,
      NLM_F_CREATE | NLM_F_EXCL,
      concat(
        linkHeader(end.index, 0, 0),
        attribute(IFLA.name, text(end.name)),
        attribute(
          IFLA.linkInfo,
          concat(
            attribute(IFLA_INFO.kind, text("veth")),
            attribute(IFLA_INFO.data, attribute(VETH_INFO_PEER, other)),
          ),
        ),
      ),
    );
  }

  /** Adds a bridge. One that snoops also queries: without a querier it would flood all the same. */
  addBridge(name: string, index: number, snooping: boolean): void {
    this.#request(
      `add bridge ${name}`,
      RTM.newLink,
      NLM_F_CREATE | NLM_F_EXCL,
      concat(
        linkHeader(index, 0, 0),
        attribute(IFLA.name, text(name)),
        attribute(
          IFLA.linkInfo,
          concat(
            attribute(IFLA_INFO.kind, text("bridge")),
            attribute(
              IFLA_INFO.data,
              concat(
                attribute(IFLA_BR_MCAST_SNOOPING, new Uint8Array([snooping ? 1 : 0])),
                attribute(IFLA_BR_MCAST_QUERIER, new Uint8Array([snooping ? 1 : 0])),
              ),
            ),
          ),
        ),
      ),
    );
  }

  /** Adds a link that needs nothing but a kind: `dummy`. */
  addLink(name: string, index: number, kind: string): void {
    this.#request(
      `add ${kind} ${name}`,
      RTM.newLink,
      NLM_F_CREATE | NLM_F_EXCL,
      concat(
        linkHeader(index, 0, 0),
        attribute(IFLA.name, text(name)),
        attribute(IFLA.linkInfo, attribute(IFLA_INFO.kind, text(kind))),
      ),
    );
  }

  /** Takes a link up or down, into a bridge, or makes it one for multicast (a dummy is none). */
  setLink(index: number, change: { up?: boolean; master?: number; multicast?: true }): void {
    const multicast = change.multicast ? IFF_MULTICAST : 0;
    this.#request(
      `set link ${index}`,
      RTM.newLink,
      0,
      concat(
        linkHeader(
          index,
          (change.up ? IFF_UP : 0) | multicast,
          (change.up === undefined ? 0 : IFF_UP) | multicast,
        ),
        change.master === undefined ? new Uint8Array() : attribute(IFLA.master, u32(change.master)),
      ),
    );
  }

  /** Deletes a link. */
  deleteLink(index: number): void {
    this.#request(`delete link ${index}`, RTM.delLink, 0, linkHeader(index, 0, 0));
  }

  /** Adds an address; an IPv6 one is usable at once (no duplicate address detection). */
  addAddress(index: number, prefixed: Prefixed): void {
    this.#request(
      `add address ${prefixed.address}`,
      RTM.newAddress,
      NLM_F_CREATE | NLM_F_EXCL,
      concat(addressBody(index, prefixed), attribute(IFA.flags, u32(IFA_F_NODAD))),
    );
  }

  /** Removes an address. */
  removeAddress(index: number, prefixed: Prefixed): void {
    this.#request(
      `remove address ${prefixed.address}`,
      RTM.delAddress,
      0,
      addressBody(index, prefixed),
    );
  }

  /** Adds a route to `destination` (undefined: the default route) through `gateway`. */
  addRoute(destination: Prefixed | undefined, gateway: Ip, index: number): void {
    const bytes = ipToBytes(gateway);
    const family = bytes.length === 4 ? 2 : 10;
    this.#request(
      `add route via ${gateway}`,
      RTM.newRoute,
      NLM_F_CREATE | NLM_F_EXCL,
      concat(
        // rtmsg: family, dst_len, src_len, tos, table main, protocol boot, scope universe, unicast
        new Uint8Array([family, destination?.length ?? 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]),
        destination ? attribute(RTA.destination, ipToBytes(destination.address)) : new Uint8Array(),
        attribute(RTA.gateway, bytes),
        attribute(RTA.oif, u32(index)),
      ),
    );
  }

  [Symbol.dispose](): void {
    closeDescriptor(this.#socket);
  }

  #request(what: string, type: number, flags: number, body: Uint8Array): void {
    const message = new Uint8Array(16 + body.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, message.length, true);
    view.setUint16(4, type, true);
    view.setUint16(6, NLM_F_REQUEST | NLM_F_ACK | flags, true);
    view.setUint32(8, ++this.#sequence, true);
    message.set(body, 16);
    const { send, recv } = libcSymbols();
    check(send(this.#socket, message, BigInt(message.length), 0), what);
    const reply = new Uint8Array(8192);
    for (;;) {
      check(recv(this.#socket, reply, BigInt(reply.length), 0), what);
      const answer = new DataView(reply.buffer);
      if (answer.getUint32(8, true) !== this.#sequence) continue;
      if (answer.getUint16(4, true) !== NLMSG_ERROR) continue;
      const code = -answer.getInt32(16, true);
      if (code !== 0) throw new SystemCallError(`${this.#where}: ${what}`, code);
      return;
    }
  }
}

function linkHeader(index: number, flags: number, change: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, change, true);
  return bytes;
}

function addressBody(index: number, { address, length }: Prefixed): Uint8Array {
  const bytes = ipToBytes(address);
  const header = new Uint8Array(8);
  header.set([bytes.length === 4 ? 2 : 10, length, 0, 0]);
  new DataView(header.buffer).setUint32(4, index, true);
  return concat(header, attribute(IFA.local, bytes), attribute(IFA.address, bytes));
}

function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + Math.ceil(value.length / 4) * 4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value + "\0");
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
