/**
 * One interface as a querier sees it: what is asked, what is known, which instances that makes.
 *
 * Sans-IO: time is an argument, packets and events are polled (RFC 6762 5.2, 7, 10; RFC 6763 4, 6).
 *
 * @module
 */
import type { Family, Ip } from "../../model/address.ts";
import { compareIp } from "../../model/address.ts";
import type { DepartureCause, ServiceInstance, Target } from "../../model/instance.ts";
import { Deadlines, neverDue, type Timed } from "../deadlines.ts";
import {
  classIn,
  type Message,
  MessageEncoder,
  type Question,
  RecordType,
  type ResourceRecord,
} from "../dns/message.ts";
import { foldName, labelToText, splitName } from "../dns/name.ts";
import { parseTxt } from "../dns/txt.ts";
import { type CacheEntry, type CacheOptions, RecordCache } from "./cache.ts";

/** What a link tells about one service name (`_foo._tcp.local`). */
export type LinkEvent =
  | { readonly type: "found"; readonly service: string; readonly instance: ServiceInstance }
  | {
    readonly type: "lost";
    readonly service: string;
    readonly name: string;
    readonly cause: DepartureCause;
  }
  | { readonly type: "settled"; readonly service: string };

/** Queries of the initial schedule: at about 0, 1, 3 and 7 s (RFC 6762 5.2). */
export const initialQueries = 4;
/** How long after the last of them an answer may still be on its way. */
export const settleDelay = 1000;

/** No query is repeated sooner (RFC 6762 5.2), nor later. */
const shortestInterval = 1000;
const longestInterval = 3600 * 1000;

/** UDP payload that fits an Ethernet frame over IPv4 and IPv6 with room to spare. */
const packetBytes = 1440;

/** A question that is asked until it is answered (resolve) or for as long as somebody browses. */
interface Ask extends Timed {
  readonly name: string;
  readonly foldedName: string;
  readonly type: number;
  /** Asked again on the doubling schedule; false: only when a record wants refreshing. */
  recurring: boolean;
  interval: number;
  count: number;
  lastAt: number;
  /** When somebody else on the link last asked the same. */
  heardAt: number;
}

interface Browsed extends Timed {
  readonly foldedName: string;
  settled: boolean;
}

interface Known {
  readonly name: string;
  readonly foldedName: string;
  /** Folded service names whose PTR leads here -> what was last told about it. */
  readonly told: Map<string, string | undefined>;
  /** Folded hosts its SRV records point to. */
  hosts: Set<string>;
}

/** See the module. */
export class Link {
  readonly index: number;
  readonly name: string;
  readonly #random: () => number;
  readonly #families: ReadonlySet<Family>;
  readonly #cache: RecordCache;
  readonly #asks = new Map<string, Ask>();
  readonly #askDeadlines = new Deadlines<Ask>();
  readonly #browsed = new Map<string, Browsed>();
  readonly #settleDeadlines = new Deadlines<Browsed>();
  readonly #instances = new Map<string, Known>();
  /** Folded host -> folded instances that point to it. */
  readonly #hosts = new Map<string, Set<string>>();
  readonly #dirty = new Set<string>();
  /** When the next packet of first questions leaves, if in the future. */
  #burstAt = -Infinity;
  readonly #transmits: Uint8Array[] = [];
  readonly #events: LinkEvent[] = [];

  constructor(
    interfaceIndex: number,
    interfaceName: string,
    families: ReadonlySet<Family>,
    options: CacheOptions,
  ) {
    this.index = interfaceIndex;
    this.name = interfaceName;
    this.#families = families;
    this.#random = options.random;
    this.#cache = new RecordCache(options);
  }

  /** Starts to browse a service name such as `_foo._tcp.local`. */
  browse(service: string, now: number): void {
    const foldedName = foldName(service);
    if (this.#browsed.has(foldedName)) return;
    this.#browsed.set(foldedName, { ...neverDue, foldedName, settled: false });
    this.#ask(service, RecordType.PTR, now);
  }

  /** Stops browsing and forgets what was known of it; tells nothing. */
  stop(service: string): void {
    const foldedName = foldName(service);
    const browsed = this.#browsed.get(foldedName);
    if (!browsed) return;
    this.#browsed.delete(foldedName);
    this.#settleDeadlines.set(browsed, Infinity);
    this.#stopAsking(foldedName, RecordType.PTR);
    this.#cache.remove(foldedName, RecordType.PTR);
    for (const known of this.#instances.values()) {
      known.told.delete(foldedName);
      if (known.told.size === 0) this.#forget(known);
    }
  }

  /** Asks everything anew, as after the link was down. */
  restart(now: number): void {
    for (const ask of this.#asks.values()) {
      ask.count = 0;
      this.#plan(ask, this.#initialAt(now));
    }
  }

  /** Tells that every instance is lost because the interface is. */
  close(): void {
    for (const known of this.#instances.values()) {
      for (const [service, told] of known.told) {
        if (told === undefined) continue;
        this.#events.push({ type: "lost", service, name: known.name, cause: "interface" });
      }
      known.told.clear();
    }
  }

  /** Takes in a message that arrived on this interface from port 5353. */
  handleMessage(message: Message, now: number): void {
    if (message.opcode !== 0 || message.rcode !== 0) return;
    if (message.response) this.#handleResponse(message, now);
    else this.#handleQuery(message, now);
  }

  /** Does what is due. */
  handleTimeout(now: number): void {
    for (let due; (due = this.#cache.takeDue(now));) {
      if (due.expired) this.#recordGone(due.entry, now);
      else this.#refresh(due.entry, now);
    }
    this.#evaluateDirty();
    const asks: Ask[] = [];
    for (let ask; (ask = this.#askDeadlines.take(now));) {
      // Somebody else asked within the interval this query would have opened (RFC 6762 7.3).
      if (now - ask.heardAt >= shortestInterval) asks.push(ask);
      this.#asked(ask, now);
    }
    if (asks.length > 0) this.#transmit(asks, now);
    for (let browsed; (browsed = this.#settleDeadlines.take(now));) {
      browsed.settled = true;
      this.#events.push({ type: "settled", service: browsed.foldedName });
    }
  }

  /** When {@link handleTimeout} has something to do, or Infinity. */
  nextDeadline(): number {
    return Math.min(
      this.#cache.nextDeadline(),
      this.#askDeadlines.next(),
      this.#settleDeadlines.next(),
    );
  }

  /** The next packet to multicast on this interface. */
  pollTransmit(): Uint8Array | undefined {
    return this.#transmits.shift();
  }

  /** The next thing to tell. */
  pollEvent(): LinkEvent | undefined {
    return this.#events.shift();
  }

  /** True once the initial schedule of a browsed service has run. */
  isSettled(service: string): boolean {
    return this.#browsed.get(foldName(service))?.settled ?? false;
  }

  // --- responses

  #handleResponse(message: Message, now: number): void {
    const records = [...message.answers, ...message.additionals].filter((record) =>
      record.class === classIn
    );
    const flushed = new Map<string, ResourceRecord>();
    const take = (record: ResourceRecord) => {
      this.#handleRecord(record, now);
      if (record.flush) flushed.set(`${record.type} ${foldName(record.name)}`, record);
    };
    // Which hosts matter is known only after the SRV records, wherever those stand in the packet,
    // and which SRV records matter may depend on a PTR.
    for (const record of records) if (record.type === RecordType.PTR) take(record);
    for (const record of records) {
      if (record.type === RecordType.SRV || record.type === RecordType.TXT) take(record);
    }
    for (const record of records) {
      if (record.type === RecordType.A || record.type === RecordType.AAAA) take(record);
      else if (record.type === RecordType.NSEC) this.#handleDenial(record, now);
    }
    for (const record of flushed.values()) {
      this.#cache.flushOlder(foldName(record.name), record.type, now);
    }
    this.#evaluateDirty();
  }

  #handleRecord(record: ResourceRecord, now: number): void {
    const { data } = record;
    const foldedName = foldName(record.name);
    switch (data.kind) {
      case "pointer":
        if (!this.#browsed.has(foldedName) || !isInstanceOf(data.target)) return;
        break;
      case "service":
      case "text":
        if (!this.#isInstance(foldedName)) return;
        break;
      case "address":
        if (!this.#hosts.has(foldedName)) return;
        break;
      default:
        return;
    }
    const result = this.#cache.put(record, now);
    if (result === "ignored") return;
    if (result !== "goodbye") this.#answered(foldedName, record.type);
    if (result === "renewed") return;
    if (data.kind === "pointer") {
      const known = this.#know(data.target, now);
      if (!known.told.has(foldedName)) known.told.set(foldedName, undefined);
      this.#dirty.add(known.foldedName);
    } else if (data.kind === "address") {
      for (const instance of this.#hosts.get(foldedName) ?? []) this.#dirty.add(instance);
    } else {
      if (data.kind === "service") this.#updateHosts(foldedName, now);
      this.#dirty.add(foldedName);
    }
  }

  /** NSEC: types it does not list do not exist (RFC 6762 6.1); asking for them is pointless. */
  #handleDenial(record: ResourceRecord, now: number): void {
    if (record.data.kind !== "existing-types" || record.ttl === 0) return;
    const foldedName = foldName(record.name);
    const until = now + Math.min(record.ttl * 1000, longestInterval);
    for (const type of [RecordType.A, RecordType.AAAA, RecordType.SRV, RecordType.TXT]) {
      const ask = this.#asks.get(askKey(foldedName, type));
      if (!ask?.recurring || record.data.types.includes(type)) continue;
      ask.count = 0;
      this.#plan(ask, until);
    }
  }

  // --- what others ask

  #handleQuery(message: Message, now: number): void {
    // With TC set, known answers follow that we have not seen (RFC 6762 7.2).
    if (message.truncated) return;
    for (const question of message.questions) {
      if (question.unicast || question.class !== classIn) continue;
      const foldedName = foldName(question.name);
      const ask = this.#asks.get(askKey(foldedName, question.type));
      if (!ask) continue;
      const ours = new Set(
        this.#knownAnswers(ask, now).map(({ data }) => foldName(targetOf(data))),
      );
      // Its known answers suppress answers that we need, if we do not know them too (7.3).
      const theirs = message.answers.filter((record) =>
        record.type === question.type && foldName(record.name) === foldedName
      );
      if (theirs.every(({ data }) => ours.has(foldName(targetOf(data))))) ask.heardAt = now;
    }
  }

  // --- what we ask

  #ask(name: string, type: number, now: number): void {
    const foldedName = foldName(name);
    const key = askKey(foldedName, type);
    let ask = this.#asks.get(key);
    if (!ask) {
      ask = {
        ...neverDue,
        name,
        foldedName,
        type,
        recurring: true,
        interval: shortestInterval,
        count: 0,
        lastAt: -Infinity,
        heardAt: -Infinity,
      };
      this.#asks.set(key, ask);
    } else if (ask.recurring && ask.dueAt !== Infinity) {
      return;
    } else {
      ask.recurring = true;
      ask.count = 0;
    }
    this.#plan(ask, this.#initialAt(now));
  }

  /**
   * RFC 6762 5.2: 20-120 ms from now, so that hosts woken by the same event do not ask in chorus.
   * What is asked first meanwhile goes into the same packet.
   */
  #initialAt(now: number): number {
    if (this.#burstAt <= now) this.#burstAt = now + 20 + this.#random() * 100;
    return this.#burstAt;
  }

  #plan(ask: Ask, at: number): void {
    this.#askDeadlines.set(ask, Math.max(at, ask.lastAt + shortestInterval));
  }

  #asked(ask: Ask, now: number): void {
    ask.lastAt = now;
    ask.count++;
    if (!ask.recurring) return;
    ask.interval = ask.count === 1 ? shortestInterval : Math.min(ask.interval * 2, longestInterval);
    this.#plan(ask, now + ask.interval);
    const browsed = ask.type === RecordType.PTR ? this.#browsed.get(ask.foldedName) : undefined;
    if (browsed && !browsed.settled && ask.count === initialQueries) {
      this.#settleDeadlines.set(browsed, now + settleDelay);
    }
  }

  /** A unique record was asked for and came: only refreshing remains. */
  #answered(foldedName: string, type: number): void {
    if (type === RecordType.PTR) return;
    const ask = this.#asks.get(askKey(foldedName, type));
    if (!ask) return;
    ask.recurring = false;
    this.#askDeadlines.set(ask, Infinity);
  }

  #stopAsking(foldedName: string, type: number): void {
    const key = askKey(foldedName, type);
    const ask = this.#asks.get(key);
    if (!ask) return;
    this.#askDeadlines.set(ask, Infinity);
    this.#asks.delete(key);
  }

  /** A record approaches its end: ask for it, at most once a second. */
  #refresh(entry: CacheEntry, now: number): void {
    if (!this.#isOfInterest(entry)) return;
    const key = askKey(entry.foldedName, entry.type);
    let ask = this.#asks.get(key);
    if (!ask) {
      this.#ask(entry.name, entry.type, now);
      ask = this.#asks.get(key)!;
      ask.recurring = false;
    }
    if (ask.dueAt > now) this.#plan(ask, now);
  }

  #isOfInterest({ foldedName, type }: CacheEntry): boolean {
    switch (type) {
      case RecordType.PTR:
        return this.#browsed.has(foldedName);
      case RecordType.SRV:
      case RecordType.TXT:
        return this.#instances.has(foldedName);
      default:
        return this.#hosts.has(foldedName);
    }
  }

  #knownAnswers(ask: Ask, now: number): ResourceRecord[] {
    if (ask.type !== RecordType.PTR) return [];
    const answers: ResourceRecord[] = [];
    for (const entry of this.#cache.usable(ask.foldedName, ask.type)) {
      const left = entry.expiresAt - now;
      if (left * 2 < entry.lifetime) continue;
      answers.push({
        name: entry.name,
        type: entry.type,
        class: classIn,
        flush: false,
        ttl: Math.floor(left / 1000),
        data: entry.data,
      });
    }
    return answers;
  }

  #transmit(asks: Ask[], now: number): void {
    let encoder = new MessageEncoder(packetBytes);
    let answers: ResourceRecord[] = [];
    for (const ask of asks) {
      const question: Question = {
        name: ask.name,
        type: ask.type,
        class: classIn,
        unicast: false,
      };
      if (!encoder.question(question)) {
        this.#finish(encoder, answers);
        encoder = new MessageEncoder(packetBytes);
        answers = [];
        encoder.question(question);
      }
      answers.push(...this.#knownAnswers(ask, now));
    }
    this.#finish(encoder, answers);
  }

  /** Known answers that do not fit follow at once in packets without questions (RFC 6762 7.2). */
  #finish(encoder: MessageEncoder, answers: readonly ResourceRecord[]): void {
    let current = encoder;
    for (const answer of answers) {
      if (current.record(answer, "answers")) continue;
      current.setTruncated();
      this.#transmits.push(current.finish());
      current = new MessageEncoder(packetBytes);
      current.record(answer, "answers");
    }
    this.#transmits.push(current.finish());
  }

  // --- what is known

  #isInstance(foldedName: string): boolean {
    if (this.#instances.has(foldedName)) return true;
    const labels = splitName(foldedName);
    return this.#browsed.has(labels.slice(1).join("."));
  }

  #know(name: string, now: number): Known {
    const foldedName = foldName(name);
    const known = this.#instances.get(foldedName);
    if (known) return known;
    const created: Known = { name, foldedName, told: new Map(), hosts: new Set() };
    this.#instances.set(foldedName, created);
    this.#askIfMissing(name, RecordType.SRV, now);
    this.#askIfMissing(name, RecordType.TXT, now);
    this.#updateHosts(foldedName, now);
    return created;
  }

  #askIfMissing(name: string, type: number, now: number): void {
    for (const _ of this.#cache.usable(foldName(name), type)) return;
    this.#ask(name, type, now);
  }

  #updateHosts(foldedName: string, now: number): void {
    const known = this.#instances.get(foldedName);
    if (!known) return;
    const hosts = new Map<string, string>();
    for (const { data } of this.#cache.entries(foldedName, RecordType.SRV)) {
      if (data.kind === "service" && data.target !== "") {
        hosts.set(foldName(data.target), data.target);
      }
    }
    for (const host of known.hosts) if (!hosts.has(host)) this.#releaseHost(host, foldedName);
    for (const [host, name] of hosts) {
      const users = this.#hosts.get(host);
      if (users) users.add(foldedName);
      else {
        this.#hosts.set(host, new Set([foldedName]));
        if (this.#families.has("ipv4")) this.#askIfMissing(name, RecordType.A, now);
        if (this.#families.has("ipv6")) this.#askIfMissing(name, RecordType.AAAA, now);
      }
    }
    known.hosts = new Set(hosts.keys());
  }

  #releaseHost(host: string, instance: string): void {
    const users = this.#hosts.get(host);
    if (!users?.delete(instance) || users.size > 0) return;
    this.#hosts.delete(host);
    for (const type of [RecordType.A, RecordType.AAAA]) {
      this.#stopAsking(host, type);
      this.#cache.remove(host, type);
    }
  }

  #forget(known: Known): void {
    this.#instances.delete(known.foldedName);
    for (const type of [RecordType.SRV, RecordType.TXT]) {
      this.#stopAsking(known.foldedName, type);
      this.#cache.remove(known.foldedName, type);
    }
    for (const host of known.hosts) this.#releaseHost(host, known.foldedName);
  }

  #recordGone(entry: CacheEntry, now: number): void {
    const { data } = entry;
    switch (data.kind) {
      case "pointer": {
        const known = this.#instances.get(foldName(data.target));
        if (!known) return;
        this.#evaluate(known);
        known.told.delete(entry.foldedName);
        if (known.told.size === 0) this.#forget(known);
        return;
      }
      case "address":
        for (const instance of this.#hosts.get(entry.foldedName) ?? []) this.#dirty.add(instance);
        break;
      case "service":
        this.#dirty.add(entry.foldedName);
        break;
      default:
        return;
    }
    // Whoever still points here wants to know when it is back.
    if (data.kind === "service") {
      this.#updateHosts(entry.foldedName, now);
      if (this.#instances.has(entry.foldedName)) {
        this.#askIfMissing(entry.name, RecordType.SRV, now);
      }
    } else if (this.#hosts.has(entry.foldedName)) {
      this.#askIfMissing(entry.name, entry.type, now);
    }
  }

  // --- instances

  #evaluateDirty(): void {
    for (const foldedName of this.#dirty) {
      const known = this.#instances.get(foldedName);
      if (known) this.#evaluate(known);
    }
    this.#dirty.clear();
  }

  #evaluate(known: Known): void {
    const instance = this.#resolve(known);
    const signature = instance && signatureOf(instance);
    for (const [service, told] of known.told) {
      const pointer = this.#cache.find(service, RecordType.PTR, known.foldedName);
      if (instance && pointer && !pointer.goodbye) {
        if (told === signature) continue;
        known.told.set(service, signature);
        this.#events.push({ type: "found", service, instance });
      } else if (told !== undefined) {
        known.told.set(service, undefined);
        const cause = this.#departureCause(service, known);
        this.#events.push({ type: "lost", service, name: known.name, cause });
      }
    }
  }

  #resolve(known: Known): ServiceInstance | undefined {
    const targets: Target[] = [];
    for (const { data } of this.#cache.usable(known.foldedName, RecordType.SRV)) {
      // A target of "." says that the service is decidedly not available (RFC 2782).
      if (data.kind !== "service" || data.port === 0 || data.target === "") continue;
      const addresses = this.#addresses(foldName(data.target));
      if (addresses.length === 0) continue;
      const { priority, weight, port } = data;
      targets.push({ host: data.target, port, priority, weight, addresses });
    }
    if (targets.length === 0) return undefined;
    targets.sort((a, b) =>
      a.priority - b.priority || (a.host < b.host ? -1 : a.host > b.host ? 1 : 0) || a.port - b.port
    );
    let txt: ReadonlyMap<string, string | null> = new Map();
    let newest = -Infinity;
    for (const { data, receivedAt } of this.#cache.usable(known.foldedName, RecordType.TXT)) {
      if (data.kind !== "text" || receivedAt <= newest) continue;
      txt = parseTxt(data.strings);
      newest = receivedAt;
    }
    return {
      name: known.name,
      label: labelToText(splitName(known.name)[0]!),
      interfaceIndex: this.index,
      interfaceName: this.name,
      targets,
      txt,
    };
  }

  #addresses(host: string): Ip[] {
    const addresses: Ip[] = [];
    for (const type of [RecordType.A, RecordType.AAAA]) {
      for (const { data } of this.#cache.usable(host, type)) {
        if (data.kind === "address") addresses.push(data.address);
      }
    }
    return addresses.sort(compareIp);
  }

  /** Goodbye if any record the instance depends on left by one, else nobody refreshed it. */
  #departureCause(service: string, known: Known): DepartureCause {
    if (this.#cache.find(service, RecordType.PTR, known.foldedName)?.goodbye) return "goodbye";
    for (const entry of this.#cache.entries(known.foldedName, RecordType.SRV)) {
      if (entry.goodbye) return "goodbye";
    }
    for (const host of known.hosts) {
      for (const type of [RecordType.A, RecordType.AAAA]) {
        for (const entry of this.#cache.entries(host, type)) if (entry.goodbye) return "goodbye";
      }
    }
    return "expired";
  }
}

function askKey(foldedName: string, type: number): string {
  return `${type} ${foldedName}`;
}

function isInstanceOf(target: string): boolean {
  // An instance name has at least an instance, a service and a protocol label (RFC 6763 4.1).
  return splitName(target).length >= 3;
}

function targetOf(data: ResourceRecord["data"]): string {
  return data.kind === "pointer" ? data.target : "";
}

function signatureOf(instance: ServiceInstance): string {
  return JSON.stringify([instance.name, instance.targets, [...instance.txt]]);
}
