/**
 * A kernel with IPVS for tests: it is sent the bytes, and answers with the bytes, of the real one.
 *
 * What it does, and the errors it gives, follow net/netfilter/ipvs/ip_vs_ctl.c; the contract suite
 * holds it against a real kernel. It has its own reading of the attributes, so that an encoder and a
 * decoder that are wrong in the same way do not agree here.
 *
 * @module
 */
import {
  type Endpoint,
  type Family,
  familyOf,
  ipFromBytes,
  ipToBytes,
} from "../../src/model/address.ts";
import {
  type Destination,
  type DestinationCounters,
  destinationKey,
  type DestinationState,
  type Forwarding,
  noTunnel,
  serviceFamily,
  serviceKey,
  type Tunnel,
  type VirtualService,
  type VirtualServiceId,
  type VirtualServiceState,
} from "../../src/model/ipvs.ts";
import type { Transport, Work } from "../../src/ipvs/transport.ts";

/** Commands by IPVS_CMD_* number. */
const commandNames = [
  "unspecified",
  "new-service",
  "set-service",
  "delete-service",
  "get-service",
  "new-destination",
  "set-destination",
  "delete-destination",
  "get-destination",
  "new-daemon",
  "delete-daemon",
  "get-daemon",
  "set-config",
  "get-config",
  "set-info",
  "get-info",
  "zero",
  "flush",
] as const;

/** Numbers of those that change something. */
const writing = new Set([1, 2, 3, 5, 6, 7, 9, 10, 12, 16, 17]);

/** The name of an IPVS command. */
export type CommandName = typeof commandNames[number] | "get-family";

/** A message the kernel was sent. */
export interface LoggedMessage {
  readonly command: CommandName;
  /** Whether it asks for a change. */
  readonly write: boolean;
  /** Key of the virtual service, with ` -> ` and the destination's where there is one; or empty. */
  readonly object: string;
  /** What it was answered, 0 for success. */
  errno: number;
}

/** Connections as tests set them; what is left out stays as it is. */
export type CounterChange = Partial<DestinationCounters>;

interface FakeService {
  service: VirtualService;
  readonly destinations: Map<string, { destination: Destination; counters: DestinationCounters }>;
}

/** An errno on its way to the sender. */
class Refusal extends Error {
  constructor(readonly errno: number, readonly text = "", readonly offset = -1) {
    super(text || `errno ${errno}`);
  }
}

const EPERM = 1,
  ENOENT = 2,
  ESRCH = 3,
  EBUSY = 16,
  EEXIST = 17,
  EINVAL = 22,
  ERANGE = 34,
  EOPNOTSUPP = 95,
  EAFNOSUPPORT = 97,
  ENOBUFS = 105;

const familyId = 28;
const noCounters: DestinationCounters = {
  activeConnections: 0,
  inactiveConnections: 0,
  persistentConnections: 0,
};

/** A kernel. Make sockets with {@link FakeKernel.connect}. */
export class FakeKernel {
  /** Schedulers that are loaded. */
  readonly schedulers = new Set(
    "rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh".split(" "),
  );
  /** Persistence engines that are loaded. */
  readonly persistenceEngines = new Set(["sip"]);
  /** False: there is no IPVS in this kernel. */
  hasIpvs = true;
  /** False: every IPVS command is EPERM. */
  hasCapability = true;
  /** False: no address is unicast, as in a namespace whose lo is down. */
  hasAddresses = true;
  /** Objects in one datagram of a dump. */
  objectsPerDatagram = 100;
  /** Replies a socket holds before it loses them with ENOBUFS. */
  replyCapacity = Infinity;
  /** Called before each message is executed; a number other than 0 refuses it with that errno. */
  intercept: ((message: LoggedMessage) => number | void) | undefined;
  /** Whether this reply is lost without a word. */
  loseReply: ((message: LoggedMessage) => boolean) | undefined;
  /** Called before each further datagram of a dump is filled: the time in which dumps tear. */
  betweenDatagrams: (() => void) | undefined;
  /** Awaited in each send of changes: a kernel that is busy. */
  busy: (() => Promise<void>) | undefined;
  /** Every message since {@link clearLog}. */
  log: LoggedMessage[] = [];
  readonly #services = new Map<string, FakeService>();

  /** A new socket. */
  connect(): FakeSocket {
    return new FakeSocket(this, (request, sink) => this.#execute(request, sink));
  }

  /** Number of messages that asked for changes. */
  get writes(): number {
    return this.log.filter((message) => message.write).length;
  }

  /** Number of messages that asked to read. */
  get reads(): number {
    return this.log.length - this.writes;
  }

  clearLog(): void {
    this.log = [];
  }

  // The table, as an administrator sees and changes it beside the program under test.

  /** A copy of the table. */
  table(): Map<string, VirtualServiceState> {
    const table = new Map<string, VirtualServiceState>();
    for (const [key, { service, destinations }] of this.#services) {
      const copy = new Map<string, DestinationState>();
      for (const [key, state] of destinations) copy.set(key, { ...state });
      table.set(key, { service, destinations: copy });
    }
    return table;
  }

  /** Adds or replaces a virtual service; its destinations stay. */
  putService(service: VirtualService): void {
    const key = serviceKey(service.id);
    const existing = this.#services.get(key);
    if (existing) existing.service = service;
    else this.#services.set(key, { service, destinations: new Map() });
  }

  removeService(id: VirtualServiceId): void {
    this.#services.delete(serviceKey(id));
  }

  /** Adds or replaces a destination of a virtual service that is there; its connections stay. */
  putDestination(id: VirtualServiceId, destination: Destination): void {
    const { destinations } = this.#service(id);
    const key = destinationKey(destination);
    const counters = destinations.get(key)?.counters ?? noCounters;
    destinations.set(key, { destination, counters });
  }

  removeDestination(id: VirtualServiceId, destination: Endpoint): void {
    this.#service(id).destinations.delete(destinationKey(destination));
  }

  /** Sets what is counted for a destination that is there. */
  setCounters(id: VirtualServiceId, destination: Endpoint, change: CounterChange): void {
    const { destinations } = this.#service(id);
    const key = destinationKey(destination);
    const state = destinations.get(key);
    if (!state) throw new Error(`no destination ${key} in ${serviceKey(id)}`);
    destinations.set(key, { ...state, counters: { ...state.counters, ...change } });
  }

  #service(id: VirtualServiceId): FakeService {
    const service = this.#services.get(serviceKey(id));
    if (!service) throw new Error(`no virtual service ${serviceKey(id)}`);
    return service;
  }

  // Messages

  /** Executes one message (genl_rcv_msg). */
  #execute(request: Request, socket: ReplySink): void {
    const attributes = parse(request.bytes.subarray(20));
    const logged: LoggedMessage = {
      command: request.type === 0x10
        ? "get-family"
        : commandNames[request.command] ?? "unspecified",
      write: request.type === familyId && writing.has(request.command),
      object: request.type === familyId ? describeObject(attributes) : "",
      errno: 0,
    };
    this.log.push(logged);
    try {
      const refused = this.intercept?.(logged);
      if (refused) throw new Refusal(refused, "injected by the test", 16);
      if (request.type === 0x10) this.#getFamily(request, attributes, socket, logged);
      else if (request.type !== familyId || !this.hasIpvs) throw new Refusal(ENOENT);
      else this.#command(request, attributes, socket, logged);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      logged.errno = error.errno;
      socket.reply(errorMessage(request, error), logged);
      return;
    }
    if (request.flags & 4) socket.reply(errorMessage(request, new Refusal(0)), logged);
  }

  #getFamily(
    request: Request,
    attributes: Attributes,
    socket: ReplySink,
    logged: LoggedMessage,
  ): void {
    if (request.command !== 3) throw new Refusal(EOPNOTSUPP);
    const name = attributes.get(2);
    if (!name) throw new Refusal(EINVAL);
    if (!this.hasIpvs || textOf(name) !== "IPVS") throw new Refusal(ENOENT);
    socket.reply(
      message(0x10, 0, request.sequence, 1, 2, [
        attribute(2, text("IPVS")),
        attribute(1, u16(familyId)),
        attribute(3, u32(1)),
        attribute(4, u32(0)),
        attribute(5, u32(6)),
      ]),
      logged,
    );
  }

  #command(
    request: Request,
    attributes: Attributes,
    socket: ReplySink,
    logged: LoggedMessage,
  ): void {
    const { command } = request;
    const isDump = (request.flags & 0x300) === 0x300;
    if (!this.hasCapability) throw new Refusal(EPERM);
    if (command === 0 || command > 17 || command === 14) throw new Refusal(EOPNOTSUPP);
    if (isDump) return this.#dump(command, attributes, request, socket, logged);
    switch (command) {
      case 4: { // GET_SERVICE
        const { found } = this.#parseService(attributes, false);
        if (!found) throw new Refusal(ESRCH);
        return socket.reply(serviceMessage(found.service, request.sequence, 0), logged);
      }
      case 15: // GET_INFO
        return socket.reply(
          message(familyId, 0, request.sequence, 14, 1, [
            attribute(1, u32(0x10201)),
            attribute(2, u32(4096)),
          ]),
          logged,
        );
      case 8: // GET_DEST
      case 11: // GET_DAEMON
        throw new Refusal(EOPNOTSUPP);
      case 17: // FLUSH
        return this.#services.clear();
      case 1:
      case 2:
      case 3:
      case 5:
      case 6:
      case 7:
        return this.#change(command, attributes);
      default:
        throw new Error(`the fake kernel does not do command ${command}`);
    }
  }

  /** ip_vs_genl_set_cmd. */
  #change(command: number, attributes: Attributes): void {
    const { parsed, found } = this.#parseService(attributes, command === 1 || command === 2);
    if (command !== 1 && !found) throw new Refusal(ESRCH);
    if (command === 1) {
      if (found) throw new Refusal(EEXIST);
      this.#checkService(parsed);
      this.#services.set(serviceKey(parsed.id), { service: parsed, destinations: new Map() });
    } else if (command === 2) {
      this.#checkService(parsed);
      found!.service = parsed;
    } else if (command === 3) {
      this.#services.delete(serviceKey(parsed.id));
    } else {
      this.#changeDestination(command, attributes, found!);
    }
  }

  #changeDestination(command: number, attributes: Attributes, service: FakeService): void {
    const family = serviceFamily(service.service.id);
    const destination = parseDestination(attributes, family, command !== 7);
    const { destinations } = service;
    const key = destinationKey(destination);
    const existing = destinations.get(key);
    if (command === 7) {
      if (!destinations.delete(key)) throw new Refusal(ENOENT);
      return;
    }
    if (familyOf(destination.address) !== family && destination.forwarding !== "tunnel") {
      throw new Refusal(EINVAL);
    }
    // ip_vs_add_dest, ip_vs_edit_dest
    if (destination.weight > 0x7fffffff) throw new Refusal(ERANGE);
    if (destination.lowerThreshold > destination.upperThreshold) throw new Refusal(ERANGE);
    if (destination.tunnel.type === "gue" && destination.tunnel.port === 0) {
      throw new Refusal(EINVAL);
    }
    if (command === 6) {
      if (!existing) throw new Refusal(ENOENT);
      destinations.set(key, { destination, counters: existing.counters });
      return;
    }
    if (existing) throw new Refusal(EEXIST);
    if (!this.hasAddresses || !isUnicast(destination)) throw new Refusal(EINVAL);
    destinations.set(key, { destination, counters: noCounters });
  }

  /** ip_vs_add_service, ip_vs_edit_service. */
  #checkService(service: VirtualService): void {
    if (service.scheduler !== "none" && !this.schedulers.has(service.scheduler)) {
      throw new Refusal(ENOENT);
    }
    const engine = service.persistenceEngine;
    if (engine !== "" && !this.persistenceEngines.has(engine)) throw new Refusal(ENOENT);
    const prefix = service.persistencePrefix;
    if (serviceFamily(service.id) === "ipv6" && (prefix < 1 || prefix > 128)) {
      throw new Refusal(EINVAL);
    }
  }

  /** ip_vs_genl_parse_service. */
  #parseService(
    attributes: Attributes,
    full: boolean,
  ): { parsed: VirtualService; found: FakeService | undefined } {
    const fields = nested(attributes, 1, servicePolicy);
    const af = fields.get(1);
    const [protocol, address, port, mark] = [2, 3, 4, 5].map((type) => fields.get(type));
    if (!af || !(mark || (protocol && address && port))) throw new Refusal(EINVAL);
    const family = familyOfNumber(numberOf(af));
    if (!family) throw new Refusal(EAFNOSUPPORT);
    let id: VirtualServiceId;
    if (mark && numberOf(mark) !== 0) {
      id = { kind: "fwmark", family, fwmark: numberOf(mark) };
    } else if (mark) {
      // A mark of 0 is none, and nothing else was looked at.
      const any = ipFromBytes(new Uint8Array(family === "ipv4" ? 4 : 16));
      id = { kind: "address", protocol: "tcp", address: any, port: 0 };
    } else {
      const name = ({ 6: "tcp", 17: "udp", 132: "sctp" } as const)[numberOf(protocol!) as 6];
      if (!name) throw new Refusal(EINVAL);
      id = {
        kind: "address",
        protocol: name,
        address: addressOf(address!, family),
        port: numberOf(port!, false),
      };
    }
    const found = this.#services.get(serviceKey(id));
    const parsed: VirtualService = {
      id,
      scheduler: "",
      flags: 0,
      persistenceTimeout: 0,
      persistencePrefix: 0,
      persistenceEngine: "",
    };
    if (!full) return { parsed, found };
    const [scheduler, flags, timeout, netmask] = [6, 7, 8, 9].map((type) => fields.get(type));
    if (!scheduler || !flags || !timeout || !netmask) throw new Refusal(EINVAL);
    const bits = numberOf(flags.subarray(0, 4));
    const mask = numberOf(flags.subarray(4, 8));
    if (bits & mask & 2) throw new Error("a service that claims to be hashed would never be found");
    const engine = fields.get(11);
    return {
      parsed: {
        id,
        scheduler: textOf(scheduler),
        flags: (((found?.service.flags ?? 0) & ~mask) | (bits & mask)) >>> 0,
        persistenceTimeout: numberOf(timeout),
        persistencePrefix: family === "ipv6"
          ? numberOf(netmask)
          : numberOf(netmask, false).toString(2).padStart(32, "0").match(/^1*/)![0].length,
        persistenceEngine: engine ? textOf(engine) : "",
      },
      found,
    };
  }

  #dump(
    command: number,
    attributes: Attributes,
    request: Request,
    socket: ReplySink,
    logged: LoggedMessage,
  ): void {
    // One at a time on a socket (__netlink_dump_start).
    if (socket.dumping) throw new Refusal(EBUSY);
    let part: (from: number, to: number) => Uint8Array[];
    if (command === 4) {
      part = (from, to) =>
        [...this.#services.values()].slice(from, to).map(({ service }) =>
          serviceMessage(service, request.sequence, 2)
        );
    } else if (command === 8) {
      // An absent service, or none, is an empty success (ip_vs_genl_dump_dests).
      let found: FakeService | undefined;
      try {
        found = this.#parseService(attributes, false).found;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
      }
      part = (from, to) =>
        [...found?.destinations.values() ?? []].slice(from, to).map((state) =>
          destinationMessage(state, request.sequence)
        );
    } else {
      throw new Refusal(EOPNOTSUPP);
    }
    // The cursor is an index into what is there when the datagram is filled.
    let cursor = 0;
    socket.dump(() => {
      if (cursor > 0) this.betweenDatagrams?.();
      const messages = part(cursor, cursor + this.objectsPerDatagram);
      cursor += messages.length;
      if (messages.length > 0) return { bytes: concat(messages), done: false };
      return { bytes: frame(3, 2, request.sequence, i32(0)), done: true };
    }, logged);
  }
}

/** Where a command puts its answers. */
interface ReplySink {
  readonly dumping: boolean;
  reply(bytes: Uint8Array, to: LoggedMessage): void;
  dump(fill: () => { bytes: Uint8Array; done: boolean }, to: LoggedMessage): void;
}

/** A socket of the fake kernel. */
export class FakeSocket implements Transport {
  readonly #kernel: FakeKernel;
  readonly #execute: (request: Request, sink: ReplySink) => void;
  readonly #queue: Uint8Array[] = [];
  #fill: (() => { bytes: Uint8Array; done: boolean }) | undefined;
  #overrun = false;
  #congested = false;
  disposed = false;
  /** Number of datagrams sent. */
  datagrams = 0;

  /** Made by {@link FakeKernel.connect}. */
  constructor(
    kernel: FakeKernel,
    execute: (request: Request, sink: ReplySink) => void,
  ) {
    this.#kernel = kernel;
    this.#execute = execute;
  }

  async send(datagram: Uint8Array, work: Work): Promise<void> {
    if (this.disposed) throw Object.assign(new Error("socket closed"), { errno: 9 });
    this.datagrams++;
    if (work === "slow") await this.#kernel.busy?.();
    const sink: ReplySink = {
      dumping: this.#fill !== undefined,
      reply: (bytes, to) => this.#reply(bytes, to),
      dump: (fill, to) => {
        this.#fill = fill;
        this.#continue(to);
      },
    };
    // netlink_rcv_skb: a length that cannot be ends the datagram, without an answer.
    for (let at = 0; datagram.length - at >= 16;) {
      const view = new DataView(datagram.buffer, datagram.byteOffset + at);
      const length = view.getUint32(0, true);
      if (length < 16 || length > datagram.length - at) break;
      const flags = view.getUint16(6, true);
      if (flags & 1) {
        this.#execute({
          bytes: datagram.slice(at, at + length),
          type: view.getUint16(4, true),
          flags,
          sequence: view.getUint32(8, true),
          command: datagram[at + 16] ?? 0,
        }, { ...sink, dumping: this.#fill !== undefined });
      }
      at += (length + 3) & ~3;
    }
  }

  // deno-lint-ignore require-await
  async receive(_timeoutMs: number): Promise<Uint8Array | null> {
    if (this.disposed) throw Object.assign(new Error("socket closed"), { errno: 9 });
    if (this.#overrun) {
      this.#overrun = false;
      throw Object.assign(new Error("no buffer space"), { errno: ENOBUFS });
    }
    const bytes = this.#queue.shift();
    if (this.#queue.length === 0) this.#congested = false;
    // As in netlink_recvmsg: what was taken makes room for the dump's next datagram.
    if (bytes && this.#fill) this.#continue();
    return bytes ?? null;
  }

  [Symbol.dispose](): void {
    this.disposed = true;
  }

  /** Puts a datagram into the receive queue. */
  inject(bytes: Uint8Array): void {
    this.#queue.push(bytes);
  }

  #reply(bytes: Uint8Array, to: LoggedMessage): void {
    if (this.#kernel.loseReply?.(to)) return;
    if (this.#congested || this.#queue.length >= this.#kernel.replyCapacity) {
      // Everything more is lost until the queue has been emptied (NETLINK_S_CONGESTED).
      this.#congested = true;
      this.#overrun = true;
      return;
    }
    this.#queue.push(bytes);
  }

  #continue(to?: LoggedMessage): void {
    const { bytes, done } = this.#fill!();
    if (done) this.#fill = undefined;
    if (to && this.#kernel.loseReply?.(to)) return;
    this.#queue.push(bytes);
  }
}

// Reading requests

interface Request {
  readonly bytes: Uint8Array;
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly command: number;
}

type Attributes = Map<number, Uint8Array>;

/** Shortest and longest value by type (ip_vs_svc_policy, ip_vs_dest_policy). */
type Policy = Record<number, readonly [minimum: number, maximum: number]>;

const anyLength = 0xffff;
const servicePolicy: Policy = {
  1: [2, anyLength],
  2: [2, anyLength],
  3: [0, 16],
  4: [2, anyLength],
  5: [4, anyLength],
  6: [1, 16],
  7: [8, anyLength],
  8: [4, anyLength],
  9: [4, anyLength],
  11: [1, 17],
};
const destinationPolicy: Policy = {
  1: [0, 16],
  2: [2, anyLength],
  3: [4, anyLength],
  4: [4, anyLength],
  5: [4, anyLength],
  6: [4, anyLength],
  11: [2, anyLength],
  13: [1, anyLength],
  14: [2, anyLength],
  15: [2, anyLength],
};

function parse(bytes: Uint8Array): Attributes {
  const attributes: Attributes = new Map();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; bytes.length - at >= 4;) {
    const length = view.getUint16(at, true);
    if (length < 4 || length > bytes.length - at) break;
    attributes.set(view.getUint16(at + 2, true) & 0x3fff, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}

function nested(attributes: Attributes, type: number, policy: Policy): Attributes {
  const nest = attributes.get(type);
  if (!nest) throw new Refusal(EINVAL);
  const fields = parse(nest);
  for (const [type, value] of fields) {
    const limits = policy[type];
    if (limits && (value.length < limits[0] || value.length > limits[1])) throw new Refusal(EINVAL);
  }
  return fields;
}

/** ip_vs_genl_parse_dest. */
function parseDestination(attributes: Attributes, family: Family, full: boolean): Destination {
  const fields = nested(attributes, 2, destinationPolicy);
  const [address, port] = [fields.get(1), fields.get(2)];
  if (!address || !port) throw new Refusal(EINVAL);
  const number = fields.get(11);
  const own = number && numberOf(number) !== 0 ? familyOfNumber(numberOf(number)) : family;
  if (!own) throw new Refusal(EAFNOSUPPORT);
  const endpoint = { address: addressOf(address, own), port: numberOf(port, false) };
  const [forwarding, weight, upper, lower] = [3, 4, 5, 6].map((type) => fields.get(type));
  const base = {
    forwarding: "masquerade",
    weight: 0,
    upperThreshold: 0,
    lowerThreshold: 0,
  } as const;
  if (!full) return { ...endpoint, ...base, tunnel: noTunnel };
  if (!forwarding || !weight || !upper || !lower) throw new Refusal(EINVAL);
  const names: readonly Forwarding[] = ["masquerade", "local", "tunnel", "direct", "bypass"];
  const [type, tunnelPort, flags] = [13, 14, 15].map((type) => fields.get(type));
  const types: readonly Tunnel["type"][] = ["ipip", "gue", "gre"];
  const tunnel: Tunnel = {
    type: types[type ? numberOf(type) : 0] ?? "ipip",
    port: tunnelPort ? numberOf(tunnelPort, false) : 0,
    flags: flags ? numberOf(flags) : 0,
  };
  return {
    ...endpoint,
    forwarding: names[numberOf(forwarding) & 7] ?? "masquerade",
    weight: numberOf(weight),
    upperThreshold: numberOf(upper),
    lowerThreshold: numberOf(lower),
    tunnel,
  };
}

/** The key of what a message is about, as far as it can be read. */
function describeObject(attributes: Attributes): string {
  const nest = attributes.get(1);
  if (!nest) return "";
  const fields = parse(nest);
  const family = familyOfNumber(numberOf(fields.get(1) ?? new Uint8Array()));
  const mark = fields.get(5);
  let text: string;
  if (!family) return "?";
  if (mark) {
    text = serviceKey({ kind: "fwmark", family, fwmark: numberOf(mark) });
  } else {
    const protocol = ({ 6: "tcp", 17: "udp", 132: "sctp" } as const)[
      numberOf(fields.get(2) ?? new Uint8Array()) as 6
    ] ?? "tcp";
    const address = addressOf(fields.get(3) ?? new Uint8Array(), family);
    const port = numberOf(fields.get(4) ?? new Uint8Array(), false);
    text = serviceKey({ kind: "address", protocol, address, port });
  }
  const second = attributes.get(2);
  if (!second) return text;
  const destination = parse(second);
  const own = familyOfNumber(numberOf(destination.get(11) ?? new Uint8Array())) ?? family;
  const address = addressOf(destination.get(1) ?? new Uint8Array(), own);
  const port = numberOf(destination.get(2) ?? new Uint8Array(), false);
  return `${text} -> ${destinationKey({ address, port })}`;
}

function familyOfNumber(number: number): Family | undefined {
  return number === 2 ? "ipv4" : number === 10 ? "ipv6" : undefined;
}

/** nla_memcpy: cut to what the family needs, zero-extended. */
function addressOf(bytes: Uint8Array, family: Family): Endpoint["address"] {
  const exact = new Uint8Array(family === "ipv4" ? 4 : 16);
  exact.set(bytes.subarray(0, exact.length));
  return ipFromBytes(exact);
}

function numberOf(bytes: Uint8Array, little = true): number {
  let number = 0;
  for (const byte of little ? bytes.slice(0, 4).reverse() : bytes.slice(0, 4)) {
    number = number * 256 + byte;
  }
  return number;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).replace(/\0.*$/s, "");
}

/** What fib_table calls RTN_UNICAST or RTN_LOCAL, and ipv6_addr_type unicast and not link-local. */
function isUnicast({ address }: Endpoint): boolean {
  const bytes = ipToBytes(address);
  if (bytes.length === 4) return bytes[0] !== 0 && bytes[0]! < 224;
  const any = bytes.every((byte) => byte === 0);
  return !any && bytes[0] !== 0xff && !(bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80);
}

// Writing replies

function serviceMessage(service: VirtualService, sequence: number, flags: number): Uint8Array {
  const { id } = service;
  const family = serviceFamily(id);
  const identity = id.kind === "fwmark" ? [attribute(5, u32(id.fwmark))] : [
    attribute(2, u16({ tcp: 6, udp: 17, sctp: 132 }[id.protocol])),
    attribute(3, padded(ipToBytes(id.address))),
    attribute(4, u16be(id.port)),
  ];
  const engine = service.persistenceEngine;
  const prefix = service.persistencePrefix;
  const mask = prefix === 0 ? 0 : 0xffffffff << 32 - prefix;
  return message(familyId, flags, sequence, 1, 1, [
    attribute(
      1,
      concat([
        attribute(1, u16(family === "ipv4" ? 2 : 10)),
        ...identity,
        attribute(6, text(service.scheduler)),
        ...(engine ? [attribute(11, text(engine))] : []),
        attribute(7, concat([u32(service.flags | 2), u32(0xffffffff)])),
        attribute(8, u32(service.persistenceTimeout)),
        attribute(9, family === "ipv4" ? u32be(mask) : u32(prefix)),
        // Statistics, which nobody here reads, with a nested flag of newer kernels.
        attribute(10 | 0x8000, attribute(1, u32(7))),
        attribute(12, attribute(1, concat([u32(7), u32(0)]))),
      ]),
    ),
  ]);
}

function destinationMessage(
  { destination, counters }: DestinationState,
  sequence: number,
): Uint8Array {
  const { tunnel } = destination;
  const forwarding = ["masquerade", "local", "tunnel", "direct", "bypass"]
    .indexOf(destination.forwarding);
  return message(familyId, 2, sequence, 5, 1, [
    attribute(
      2,
      concat([
        attribute(1, padded(ipToBytes(destination.address))),
        attribute(2, u16be(destination.port)),
        attribute(3, u32(forwarding)),
        attribute(4, u32(destination.weight)),
        attribute(13, new Uint8Array([["ipip", "gue", "gre"].indexOf(tunnel.type)])),
        attribute(14, u16be(tunnel.port)),
        attribute(15, u16(tunnel.flags)),
        attribute(5, u32(destination.upperThreshold)),
        attribute(6, u32(destination.lowerThreshold)),
        attribute(7, u32(counters.activeConnections)),
        attribute(8, u32(counters.inactiveConnections)),
        attribute(9, u32(counters.persistentConnections)),
        attribute(11, u16(familyOf(destination.address) === "ipv4" ? 2 : 10)),
        attribute(10, attribute(1, u32(7))),
        attribute(12, attribute(1, concat([u32(7), u32(0)]))),
      ]),
    ),
  ]);
}

/** NLMSG_ERROR with NETLINK_CAP_ACK and NETLINK_EXT_ACK set (netlink_ack). */
function errorMessage(request: Request, { errno, text: words, offset }: Refusal): Uint8Array {
  const details: Uint8Array[] = [];
  if (words) details.push(attribute(1, text(words)));
  if (offset >= 0) details.push(attribute(2, u32(offset)));
  return frame(
    2,
    0x100 | (details.length > 0 ? 0x200 : 0),
    request.sequence,
    concat([i32(-errno), request.bytes.subarray(0, 16), ...details]),
  );
}

function message(
  type: number,
  flags: number,
  sequence: number,
  command: number,
  version: number,
  attributes: Uint8Array[],
): Uint8Array {
  return frame(
    type,
    flags,
    sequence,
    concat([new Uint8Array([command, version, 0, 0]), ...attributes]),
  );
}

function frame(type: number, flags: number, sequence: number, payload: Uint8Array): Uint8Array {
  return concat([
    u32(16 + payload.length),
    u16(type),
    u16(flags),
    u32(sequence),
    u32(4711),
    payload,
  ]);
}

function attribute(type: number, value: Uint8Array): Uint8Array {
  const padding = new Uint8Array(-value.length & 3);
  return concat([u16(4 + value.length), u16(type), value, padding]);
}

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(16);
  result.set(bytes);
  return result;
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value + "\0");
}

function u16(value: number): Uint8Array {
  return new Uint8Array([value, value >> 8]);
}

function u16be(value: number): Uint8Array {
  return new Uint8Array([value >> 8, value]);
}

function u32(value: number): Uint8Array {
  return new Uint8Array([value, value >> 8, value >> 16, value >> 24]);
}

function u32be(value: number): Uint8Array {
  return u32(value).reverse();
}

function i32(value: number): Uint8Array {
  return u32(value);
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
