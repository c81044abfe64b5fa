/**
 * The witness thread: sees every mDNS packet on the director's links (with the kernel's own receive
 * time) and every change of the IPVS table, on one clock.
 *
 * It listens with a packet socket, and so joins no multicast group and takes no packet from klb. The
 * table is read through /proc in a loop, since the kernel tells nobody when it changes.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { check, inNamespace, libcSymbols, openDescriptor } from "./linux.ts";

/** What to watch. */
export interface WitnessOptions {
  readonly namespace: string;
  /** How long one wait for packets lasts; the table is read after each. */
  readonly periodMicroseconds: number;
  /** One 32-bit word; not zero means: end. */
  readonly stop: SharedArrayBuffer;
}

/** One thing seen. Times are milliseconds since the epoch, with fractions. */
export type Sighting =
  | { readonly kind: "ready" }
  | { readonly kind: "table"; readonly at: number; readonly bytes: Uint8Array }
  | {
    readonly kind: "packet";
    readonly at: number;
    readonly interfaceIndex: number;
    readonly outgoing: boolean;
    /** The IP packet. */
    readonly bytes: Uint8Array;
  };

const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_TIMESTAMPNS = 35;
const SO_ATTACH_FILTER = 26;
const MSG_DONTWAIT = 0x40;
const PACKET_OUTGOING = 4;

// Classic BPF over the IP header: UDP to port 5353, either family.
const filter: readonly (readonly [code: number, yes: number, no: number, k: number])[] = [
  [0x30, 0, 0, 0], // ldb [0]
  [0x74, 0, 0, 4], // rsh #4
  [0x15, 0, 5, 4], // jeq #4, next, IPv6
  [0x30, 0, 0, 9], // ldb [9]
  [0x15, 0, 8, 17], // jeq #17, next, drop
  [0xb1, 0, 0, 0], // ldxb 4*([0]&0xf)
  [0x48, 0, 0, 2], // ldh [x+2]
  [0x15, 6, 5, 5353], // jeq #5353, take, drop
  [0x15, 0, 4, 6], // IPv6: jeq #6, next, drop
  [0x30, 0, 0, 6], // ldb [6]
  [0x15, 0, 2, 17], // jeq #17, next, drop
  [0x28, 0, 0, 42], // ldh [42]
  [0x15, 1, 0, 5353], // jeq #5353, take, drop
  [0x06, 0, 0, 0], // drop: ret #0
  [0x06, 0, 0, 0xffff], // take: ret #65535
];

self.onmessage = ({ data }: MessageEvent<WitnessOptions>) => {
  watch(data);
  self.close();
};

// Telling wakes the main thread, which would take the only CPU of user-mode-linux from klb just when
// klb is being timed. So what was seen is told once things are quiet, or after a while.
const quietMs = 25;
const longestMs = 150;
let untold: Sighting[] = [];
let firstUntold = 0;
let lastSeen = 0;

function see(sighting: Sighting): void {
  lastSeen = performance.now();
  if (untold.length === 0) firstUntold = lastSeen;
  untold.push(sighting);
}

function tell(): void {
  if (untold.length === 0) return;
  const now = performance.now();
  if (now - lastSeen < quietMs && now - firstUntold < longestMs) return;
  self.postMessage(untold);
  untold = [];
}

function watch({ namespace, periodMicroseconds, stop }: WitnessOptions): void {
  const { recvmsg, ppoll, pread, close } = libcSymbols();
  const stopping = new Int32Array(stop);
  const { socket, table } = inNamespace(namespace, () => ({
    socket: packetSocket(),
    table: openTable(),
  }));
  const pollFd = new Uint8Array(8);
  const pollView = new DataView(pollFd.buffer);
  pollView.setInt32(0, socket, true);
  pollView.setInt16(4, 1, true); // POLLIN
  const wait = new BigInt64Array([0n, BigInt(periodMicroseconds) * 1000n]);
  const waitBytes = new Uint8Array(wait.buffer);
  const message = new Message();
  let size = 1 << 16;
  let previous = new Uint8Array(0);
  let current = new Uint8Array(size);

  self.postMessage([{ kind: "ready" }] satisfies Sighting[]);
  while (Atomics.load(stopping, 0) === 0) {
    if (check(ppoll(pollFd, 1n, waitBytes, null), "ppoll") > 0) {
      for (;;) {
        const length = Number(recvmsg(socket, message.header, MSG_DONTWAIT));
        if (length < 0) break;
        see(message.sighting(length));
      }
    }
    tell();
    if (table < 0) continue;
    const read = Number(pread(table, current, BigInt(size), 0n));
    if (read === size) {
      current = new Uint8Array(size *= 2);
      continue;
    }
    if (!same(previous, current, read)) {
      const at = now();
      previous = current.slice(0, read);
      see({ kind: "table", at, bytes: previous });
    }
  }
  close(socket);
  if (table >= 0) close(table);
}

/** The table's descriptor; -1 in a kernel without IPVS, where packets can still be watched. */
function openTable(): number {
  try {
    return openDescriptor("/proc/thread-self/net/ip_vs");
  } catch {
    return -1;
  }
}

function same(previous: Uint8Array, current: Uint8Array, length: number): boolean {
  if (previous.length !== length) return false;
  for (let i = 0; i < length; i++) if (previous[i] !== current[i]) return false;
  return true;
}

const clock = new Uint8Array(16);
const clockView = new DataView(clock.buffer);

function now(): number {
  libcSymbols().clock_gettime(0, clock);
  return milliseconds(clockView, 0);
}

function milliseconds(view: DataView, at: number): number {
  return Number(view.getBigInt64(at, true)) * 1000 + Number(view.getBigInt64(at + 8, true)) / 1e6;
}

function packetSocket(): number {
  const { socket, setsockopt } = libcSymbols();
  // ETH_P_ALL, in network order: what this host sends is seen too.
  const fd = check(socket(AF_PACKET, SOCK_DGRAM | 0o2000000, 0x0300), "packet socket");
  const program = new Uint8Array(filter.length * 8);
  const view = new DataView(program.buffer);
  filter.forEach(([code, yes, no, k], i) => {
    view.setUint16(i * 8, code, true);
    program[i * 8 + 2] = yes;
    program[i * 8 + 3] = no;
    view.setUint32(i * 8 + 4, k, true);
  });
  const descriptor = new Uint8Array(16);
  const descriptorView = new DataView(descriptor.buffer);
  descriptorView.setUint16(0, filter.length, true);
  descriptorView.setBigUint64(8, addressOf(program), true);
  check(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, descriptor, 16), "SO_ATTACH_FILTER");
  const one = new Uint8Array([1, 0, 0, 0]);
  check(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, one, 4), "SO_TIMESTAMPNS");
  const megabyte = new Uint8Array([0, 0, 16, 0]);
  check(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, megabyte, 4), "SO_RCVBUFFORCE");
  return fd;
}

function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
}

/** A msghdr with one buffer, room for a sockaddr_ll and for the timestamp. */
class Message {
  readonly header = new Uint8Array(56);
  readonly #view = new DataView(this.header.buffer);
  readonly #data = new Uint8Array(9216);
  readonly #name = new Uint8Array(20);
  readonly #control = new Uint8Array(64);
  readonly #vector = new Uint8Array(16);

  constructor() {
    const vector = new DataView(this.#vector.buffer);
    vector.setBigUint64(0, addressOf(this.#data), true);
    vector.setBigUint64(8, BigInt(this.#data.length), true);
    this.#view.setBigUint64(0, addressOf(this.#name), true);
    this.#view.setBigUint64(16, addressOf(this.#vector), true);
    this.#view.setBigUint64(24, 1n, true);
    this.#view.setBigUint64(32, addressOf(this.#control), true);
    this.#reset();
  }

  sighting(length: number): Sighting {
    const name = new DataView(this.#name.buffer);
    const control = new DataView(this.#control.buffer);
    const sighting: Sighting = {
      kind: "packet",
      at: milliseconds(control, 16),
      interfaceIndex: name.getInt32(4, true),
      outgoing: this.#name[10] === PACKET_OUTGOING,
      bytes: this.#data.slice(0, length),
    };
    this.#reset();
    return sighting;
  }

  // recvmsg overwrites both lengths with what it used.
  #reset(): void {
    this.#view.setUint32(8, this.#name.length, true);
    this.#view.setBigUint64(40, BigInt(this.#control.length), true);
  }
}
