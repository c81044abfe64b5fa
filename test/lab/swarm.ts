/**
 * Many announcers at once, over a real socket in one worker's namespace: a thousand processes would
 * measure the machine and not klb.
 *
 * Each announces for a host of its own, answers questions, and takes no notice of the others.
 *
 * @module
 */
import { decodeMessage } from "../../src/discovery/dns/message.ts";
import { type Announced, Responder } from "../fakes/responder.ts";
import { check, closeDescriptor, libcSymbols } from "./linux.ts";
import type { Host } from "./topology.ts";

const group = [224, 0, 0, 251];
const port = 5353;
const MSG_DONTWAIT = 0x40;
const IP_MULTICAST = { ttl: 33, loop: 34, join: 35 } as const;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;

/** How often the socket is looked at, in milliseconds. */
const lookInterval = 5;

/** See the module. */
export class Swarm implements Disposable {
  readonly #socket: number;
  readonly #random: () => number;
  readonly #members = new Map<string, { responder: Responder; key: string }>();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #destination = address(group);
  readonly #buffer = new Uint8Array(9000);
  /** Packets sent. */
  sent = 0;

  /** Starts in the namespace of `host`, on its first link. Nothing is announced yet. */
  constructor(host: Host, random: () => number) {
    this.#random = random;
    this.#socket = host.inside(() => openSocket(host.ipv4));
    this.#timer = setInterval(() => this.#turn(), lookInterval);
  }

  /** Announces instances, each by a responder that has just started. */
  announce(instances: Iterable<Announced>): void {
    for (const instance of instances) {
      const responder = new Responder({ random: this.#random });
      const key = `${instance.label}.${instance.service}`;
      this.#members.set(key, { responder, key });
      responder.announce(instance, performance.now());
      this.#flush(responder);
    }
  }

  /** Ends the responders of these instances (`LABEL.SERVICE`), with goodbyes or without. */
  end(keys: Iterable<string>, how: "goodbye" | "crash"): void {
    for (const key of keys) {
      const member = this.#members.get(key);
      if (!member) continue;
      this.#members.delete(key);
      if (how === "crash") continue;
      member.responder.withdraw(key, performance.now());
      this.#flush(member.responder);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    closeDescriptor(this.#socket);
  }

  #turn(): void {
    const now = performance.now();
    const { recv } = libcSymbols();
    for (;;) {
      const length = Number(
        recv(this.#socket, this.#buffer, BigInt(this.#buffer.length), MSG_DONTWAIT),
      );
      if (length < 0) break;
      const bytes = this.#buffer.slice(0, length);
      const message = decodeMessage(bytes);
      if (!message) continue;
      for (const { responder } of this.#members.values()) {
        responder.handlePacket(bytes, message, now);
      }
    }
    for (const { responder } of this.#members.values()) {
      if (responder.nextDeadline() <= now) responder.handleTimeout(now);
      this.#flush(responder);
    }
  }

  #flush(responder: Responder): void {
    const { sendto } = libcSymbols();
    for (let packet; (packet = responder.pollTransmit());) {
      const bytes = packet as Uint8Array<ArrayBuffer>;
      const size = BigInt(bytes.length);
      check(sendto(this.#socket, bytes, size, 0, this.#destination, 16), "sendto");
      this.sent++;
    }
  }
}

/** `count` instances named `PREFIX N`, one a host, with addresses from 10.8.0.1 on. */
export function* instances(
  count: number,
  service = "_foo._tcp.local",
  prefix = "w",
): Iterable<Announced> {
  for (let i = 0; i < count; i++) {
    yield {
      label: `${prefix}${i}`,
      service,
      host: `${prefix}${i}.local`,
      port: 80,
      addresses: [`10.8.${i >> 8}.${i & 255}`],
      txt: ["path=/"],
    };
  }
}

function openSocket(ipv4: string): number {
  const { socket, setsockopt, bind } = libcSymbols();
  const fd = check(socket(2, 2 | 0o2000000, 0), "socket"); // AF_INET, SOCK_DGRAM | SOCK_CLOEXEC
  const set = (level: number, name: number, value: Uint8Array<ArrayBuffer>) =>
    check(setsockopt(fd, level, name, value, value.length), `setsockopt ${name}`);
  const number = (value: number) => new Uint8Array(Int32Array.of(value).buffer);
  set(1, SO_SNDBUFFORCE, number(4 << 20));
  set(1, SO_RCVBUFFORCE, number(4 << 20));
  set(0, IP_MULTICAST.join, Uint8Array.of(...group, ...ipv4.split(".").map(Number)));
  set(0, IP_MULTICAST.ttl, number(255));
  set(0, IP_MULTICAST.loop, number(0));
  check(bind(fd, address(group), 16), "bind");
  return fd;
}

/** struct sockaddr_in. */
function address(ip: readonly number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.of(2, 0, port >> 8, port & 255, ...ip, 0, 0, 0, 0, 0, 0, 0, 0);
}
