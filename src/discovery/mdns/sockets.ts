/**
 * Multicast sockets, one per interface and family. [shell]
 *
 * multicast-dns opens, binds and closes them; its codec is bypassed (see dns/message.ts), and so is
 * its membership code, which knows interfaces by address and therefore loses them with it.
 *
 * @module
 */
import { createSocket, type Socket } from "node:dgram";
import multicastDns from "multicast-dns";
import type { Family } from "../../model/address.ts";
import { type LinkInterface, mdnsPort } from "./browser.ts";

/** The multicast groups of mDNS (RFC 6762 3). */
export const mdnsGroup = { ipv4: "224.0.0.251", ipv6: "ff02::fb" } as const;

const groupBytes: Record<Family, Uint8Array> = {
  ipv4: Uint8Array.of(224, 0, 0, 251),
  ipv6: Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb),
};

/** What only the C library can do for a multicast socket. Injected, since it needs FFI. */
export interface SocketConfigurator {
  /** A picture of the open descriptors, taken before a socket is opened. */
  snapshot(): ReadonlySet<number>;
  /** Sets the options on the socket opened since. @throws {Error} naming what failed. */
  configure(
    before: ReadonlySet<number>,
    settings: {
      family: Family;
      interfaceIndex: number;
      group: Uint8Array;
      port: number;
    },
  ): void;
}

/** An open socket that hears and speaks mDNS on exactly one interface. */
export interface MulticastSocket extends Disposable {
  /** Multicasts a packet. A failure is reported to `onError`; the packet is lost, as any may be. */
  send(bytes: Uint8Array): void;
}

/** What a socket tells. */
export interface MulticastSocketEvents {
  onPacket(bytes: Uint8Array, sourcePort: number): void;
  onError(error: Error): void;
}

/**
 * Opens a socket for one interface and family.
 *
 * @throws {Error} when it cannot be bound or configured.
 */
export async function openMulticastSocket(
  family: Family,
  link: LinkInterface,
  configurator: SocketConfigurator,
  events: MulticastSocketEvents,
): Promise<MulticastSocket> {
  const group = family === "ipv4" ? mdnsGroup.ipv4 : `${mdnsGroup.ipv6}%${link.name}`;
  const socket = createSocket({ type: family === "ipv4" ? "udp4" : "udp6", reuseAddr: true });
  const before = configurator.snapshot();
  // Bound to the group address, a socket gets no unicast meant for a responder on the same host.
  const mdns = multicastDns({
    type: family === "ipv4" ? "udp4" : "udp6",
    ip: group,
    interface: group,
    bind: group,
    port: mdnsPort,
    multicast: false,
    socket: withoutMessages(socket),
  });
  try {
    await new Promise<void>((resolve, reject) => {
      mdns.once("ready", resolve);
      mdns.once("error", reject);
      mdns.once("warning", reject);
    });
    configurator.configure(before, {
      family,
      interfaceIndex: link.index,
      group: groupBytes[family],
      port: mdnsPort,
    });
  } catch (error) {
    mdns.destroy();
    throw error;
  }
  mdns.on("error", events.onError);
  mdns.on("warning", events.onError);
  socket.on("message", (bytes, { port }) => events.onPacket(bytes, port));
  return {
    send(bytes) {
      socket.send(bytes, mdnsPort, group, (error) => {
        if (error) events.onError(error);
      });
    },
    [Symbol.dispose]() {
      mdns.destroy();
    },
  };
}

/** The socket as multicast-dns sees it: it never gets a message, so it decodes none. */
function withoutMessages(socket: Socket): Socket {
  const facade: Socket = new Proxy(socket, {
    get(target, property) {
      if (property === "on") {
        return (event: string, listener: (...args: unknown[]) => void) => {
          if (event !== "message") target.on(event, listener);
          return facade;
        };
      }
      const value = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return facade;
}
