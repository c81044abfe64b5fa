/**
 * Network interfaces with index, flags and addresses, by getifaddrs(3).
 *
 * `Deno.networkInterfaces()` tells neither index nor flags, nor anything of an interface without
 * an address.
 *
 * @module
 */

/** Flags of an interface (linux/if.h). */
export const InterfaceFlag = {
  up: 0x1,
  loopback: 0x8,
  pointToPoint: 0x10,
  running: 0x40,
  multicast: 0x1000,
} as const;

/** An interface as it is now. */
export interface NetworkInterface {
  readonly index: number;
  readonly name: string;
  /** {@link InterfaceFlag} bits and others. */
  readonly flags: number;
  /** Raw addresses in network order: 4 or 16 bytes each. */
  readonly addresses: readonly Uint8Array[];
}

const definitions = {
  getifaddrs: { parameters: ["buffer"], result: "i32" },
  freeifaddrs: { parameters: ["pointer"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Lists interfaces until disposed. */
export interface InterfaceLister extends Disposable {
  /** Every interface, in the kernel's order. @throws {Error} when the kernel refuses the list. */
  list(): NetworkInterface[];
}

const afInet = 2;
const afInet6 = 10;
const afPacket = 17;

/** Opens the C library for {@link InterfaceLister.list}. */
export function openInterfaceLister(): InterfaceLister {
  const library = Deno.dlopen("libc.so.6", definitions);
  return {
    list() {
      const head = new BigUint64Array(1);
      if (library.symbols.getifaddrs(new Uint8Array(head.buffer)) !== 0) {
        throw new Error("the kernel gives no list of network interfaces (getifaddrs)");
      }
      const first = Deno.UnsafePointer.create(head[0]!);
      try {
        return readList(first);
      } finally {
        library.symbols.freeifaddrs(first);
      }
    },
    [Symbol.dispose]: () => library.close(),
  };
}

/** struct ifaddrs on 64-bit: next, name, flags (u32), address, netmask, broadcast, data. */
function readList(first: Deno.PointerValue): NetworkInterface[] {
  const byName = new Map<string, { index: number; flags: number; addresses: Uint8Array[] }>();
  for (let node = first; node !== null;) {
    const view = new Deno.UnsafePointerView(node);
    const name = Deno.UnsafePointerView.getCString(view.getPointer(8)!);
    let known = byName.get(name);
    if (!known) byName.set(name, known = { index: 0, flags: 0, addresses: [] });
    known.flags = view.getUint32(16);
    const address = view.getPointer(24);
    if (address !== null) {
      const socketAddress = new Deno.UnsafePointerView(address);
      switch (socketAddress.getUint16(0)) {
        case afInet:
          known.addresses.push(copy(socketAddress, 4, 4));
          break;
        case afInet6:
          known.addresses.push(copy(socketAddress, 8, 16));
          break;
        case afPacket:
          // sockaddr_ll: family, protocol, ifindex.
          known.index = socketAddress.getInt32(4);
          break;
      }
    }
    node = view.getPointer(0);
  }
  const interfaces: NetworkInterface[] = [];
  for (const [name, { index, flags, addresses }] of byName) {
    // An IPv4 label such as "eth0:1" is no interface of its own and has no link-layer entry.
    if (index !== 0) interfaces.push({ index, name, flags, addresses });
  }
  return interfaces;
}

function copy(view: Deno.UnsafePointerView, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  view.copyInto(bytes, offset);
  return bytes;
}
