/**
 * One interface as a querier sees it: what is asked, what is known, which instances that makes.
 *
 * Sans-IO: time is an argument, packets and events are polled (RFC 6762 5.2, 7, 10; RFC 6763 4, 6).
 *
 * @module
 */
import { compareIp, type Family, familyOf, type Ip } from "../../model/address.ts";
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
import {
  type CacheEntry,
  type CacheOptions,
  reconfirmTime,
  RecordCache,
  recoveryTime,
} from "./cache.ts";

/** What a link tells about one service name (`_foo._tcp.local`). */
export type LinkEvent =
  | { readonly type: "found"; readonly service: string; readonly instance: ServiceInstance }
  | {
    readonly type: "lost";
    readonly service: string;
    readonly name: string;
    readonly cause: DepartureCause;
  }
  | { readonly type: "service-type"; readonly service: string; readonly serviceType: string }
  | { readonly type: "settled"; readonly service: string };

/** Queries of the initial schedule: at about 0, 1, 3 and 7 s (RFC 6762 5.2). */
export const initialQueries = 4;
/** How long after the last of them an answer may still be on its way. */
export const settleDelay = 1000;

/** No query is repeated sooner (RFC 6762 5.2), nor later. */
const shortestInterval = 1000;
const longestInterval = 3600 * 1000;

/** Of {@link CacheOptions.maxRecords}: an instance has a PTR, an SRV, a TXT and some addresses. */
const recordsPerInstance = 5;

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
  /** The last query was left to somebody else. */
  suppressed: boolean;
}

interface Browsed extends Timed {
  readonly foldedName: string;
  settled: boolean;
}

interface Known {
  readonly name: string;
  readonly foldedName: string;
  readonly label: string;
  /** Folded service names whose PTR leads here -> what was last told about it. */
  readonly told: Map<string, string | undefined>;
  /** Folded hosts its SRV records point to. */
  hosts: Set<string>;
  /** When it was last put in doubt on demand. */
  reconfirmedAt: number;
}

/** Addresses kept of hosts that nobody points to. Who floods them evicts only those. */
const maxBystanders = 1024;

/** What a link counts. */
export interface LinkCounters {
  /** Instances not taken in because there are too many and every one of them is resolved. */
  refusedInstances: number;
}

/** What a link holds. Nothing of it may grow without end. */
export interface LinkSize {
  readonly records: number;
  /** Addresses of hosts that no instance points to. */
  readonly bystanders: number;
  readonly instances: number;
  readonly hosts: number;
  readonly questions: number;
  /** Places in the queues of deadlines. */
  readonly deadlines: number;
}

/** See the module. */
export class Link {
  readonly index: number;
  readonly name: string;
  readonly #random: () => number;
  readonly #families: ReadonlySet<Family>;
  readonly #cache: RecordCache;
  /**
   * Addresses of hosts that no instance points to yet. An announcer that has been there for a while
   * announces a new service without its host's addresses; who has kept them need not ask.
   */
  readonly #bystanders: RecordCache;
  readonly #asks = new Map<string, Ask>();
  readonly #askDeadlines = new Deadlines<Ask>();
  readonly #browsed = new Map<string, Browsed>();
  readonly #settleDeadlines = new Deadlines<Browsed>();
  readonly #counters: LinkCounters;
  readonly #maxInstances: number;
  readonly #instances = new Map<string, Known>();
  /** Instances without a server that has an address, oldest first: they make room for others. */
  readonly #unresolved = new Set<string>();
  /** Folded host -> folded instances that point to it. */
  readonly #hosts = new Map<string, Set<string>>();
  readonly #dirty = new Set<string>();
  /** When the next packet of questions leaves, if in the future. */
  #burstAt = -Infinity;
  /** The interface is away: nothing can be asked. */
  #paused = false;
  readonly #transmits: Uint8Array[] = [];
  readonly #events: LinkEvent[] = [];

  constructor(
    interfaceIndex: number,
    interfaceName: string,
    families: ReadonlySet<Family>,
    options: CacheOptions,
    counters: LinkCounters,
  ) {
    this.index = interfaceIndex;
    this.name = interfaceName;
    this.#families = families;
    this.#random = options.random;
    this.#cache = new RecordCache(options);
    this.#bystanders = new RecordCache({ ...options, maxRecords: maxBystanders });
    this.#counters = counters;
    this.#maxInstances = Math.max(1, Math.floor(options.maxRecords / recordsPerInstance));
  }

  /** How much it holds. */
  get size(): LinkSize {
    return {
      records: this.#cache.size,
      bystanders: this.#bystanders.size,
      instances: this.#instances.size,
      hosts: this.#hosts.size,
      questions: this.#asks.size,
      deadlines: this.#cache.deadlines + this.#askDeadlines.length + this.#settleDeadlines.length,
    };
  }

  /** Starts to browse a service name such as `_foo._tcp.local`. */
  browse(service: string, now: number): void {
    const foldedName = foldName(service);
    if (this.#browsed.has(foldedName)) return;
    this.#browsed.set(foldedName, { ...neverDue, foldedName, settled: false });
    this.#ask(service, RecordType.PTR, now);
  }

  /** Stops browsing and forgets what was known of it; tells nothing. */
  stop(service: string, now: number): void {
    const foldedName = foldName(service);
    const browsed = this.#browsed.get(foldedName);
    if (!browsed) return;
    this.#browsed.delete(foldedName);
    this.#settleDeadlines.set(browsed, Infinity);
    this.#stopAsking(foldedName, RecordType.PTR);
    this.#cache.remove(foldedName, RecordType.PTR);
    for (const known of this.#instances.values()) {
      known.told.delete(foldedName);
      if (known.told.size === 0) this.#forget(known, now);
    }
  }

  /** Every instance of a service that is there now, for somebody who comes later. */
  *instancesOf(service: string): Iterable<ServiceInstance> {
    const foldedName = foldName(service);
    for (const known of this.#instances.values()) {
      if (known.told.get(foldedName) === undefined) continue;
      const instance = this.#resolve(known);
      if (instance) yield instance;
    }
  }

  /** Milliseconds until the first record an instance needs runs out unless it is heard again. */
  timeLeft(name: string, now: number): number {
    const known = this.#instances.get(foldName(name));
    if (!known) return 0;
    const latest = (entries: Iterable<CacheEntry>) =>
      Math.max(...Array.from(entries, ({ expiresAt }) => expiresAt));
    const pointers = [...known.told.keys()]
      .flatMap((service) => this.#cache.find(service, RecordType.PTR, known.foldedName) ?? []);
    const addresses = [...known.hosts].flatMap((host) => [
      ...this.#cache.usable(host, RecordType.A),
      ...this.#cache.usable(host, RecordType.AAAA),
    ]);
    const servers = this.#cache.usable(known.foldedName, RecordType.SRV);
    return Math.max(0, Math.min(latest(pointers), latest(servers), latest(addresses)) - now);
  }

  /** The interface is away: nothing is asked, and nothing settles, until {@link restart}. */
  pause(): void {
    this.#paused = true;
    for (const ask of this.#asks.values()) this.#askDeadlines.set(ask, Infinity);
    for (const browsed of this.#browsed.values()) this.#settleDeadlines.set(browsed, Infinity);
  }

  /**
   * Asks anew what is still asked. After a {@link pause}, everything known is in doubt as well:
   * what left meanwhile said its goodbye to nobody (RFC 6762 10.3).
   */
  restart(now: number): void {
    if (this.#paused) this.#cache.reconfirmAll(now, recoveryTime);
    this.#paused = false;
    for (const ask of this.#asks.values()) {
      if (!ask.recurring) continue;
      ask.count = 0;
      this.#plan(ask, this.#burst(now));
    }
  }

  /** Puts everything in doubt: what is not heard again within 10 s is lost. */
  reconfirmAll(now: number): void {
    this.#cache.reconfirmAll(now);
  }

  /**
   * Puts an instance in doubt, since it does not serve (RFC 6762 10.4): unless its records are heard
   * again within 10 s, it is lost. Asking for that more often than every 10 s changes nothing.
   */
  reconfirm(name: string, now: number): void {
    const known = this.#instances.get(foldName(name));
    if (!known || now - known.reconfirmedAt < reconfirmTime) return;
    known.reconfirmedAt = now;
    for (const service of known.told.keys()) {
      this.#cache.reconfirm(service, RecordType.PTR, now, known.foldedName);
    }
    this.#cache.reconfirm(known.foldedName, RecordType.SRV, now);
    for (const host of known.hosts) {
      this.#cache.reconfirm(host, RecordType.A, now);
      this.#cache.reconfirm(host, RecordType.AAAA, now);
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
      // Somebody else has just asked the same (RFC 6762 7.3). Not twice in a row, lest one whom
      // nobody else hears silence us for ever.
      ask.suppressed = !ask.suppressed && now - ask.heardAt < shortestInterval;
      if (!ask.suppressed) asks.push(ask);
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
      // Pointers are shared: one responder cannot know those of the others (10.2). And a goodbye is
      // about one record: avahi says it with this bit when one of a host's addresses goes.
      if (record.flush && record.ttl > 0 && record.type !== RecordType.PTR) {
        flushed.set(`${record.type} ${foldName(record.name)}`, record);
      }
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
      this.#bystanders.flushOlder(foldName(record.name), record.type, now);
    }
    // Nobody waits for these to run out: it is enough to clear them away when others come.
    while (this.#bystanders.takeDue(now));
    this.#evaluateDirty();
  }

  #handleRecord(record: ResourceRecord, now: number): void {
    const { data } = record;
    const foldedName = foldName(record.name);
    switch (data.kind) {
      case "pointer":
        if (isTypeEnumeration(foldedName)) return this.#handleServiceType(record, now);
        if (!this.#browsed.has(foldedName) || !isInstanceOf(data.target, foldedName)) return;
        if (record.ttl > 0 && !this.#hasRoomFor(foldName(data.target), now)) {
          this.#counters.refusedInstances++;
          return;
        }
        break;
      case "service":
      case "text":
        // Nothing is kept that no pointer leads to. When one turns up later, this is asked for.
        if (!this.#instances.has(foldedName)) return;
        break;
      case "address":
        if (!this.#families.has(familyOf(data.address))) return;
        if (!this.#hosts.has(foldedName)) {
          this.#bystanders.put(record, now);
          return;
        }
        break;
      default:
        return;
    }
    const result = this.#cache.put(record, now);
    if (result === "ignored") return;
    if (result !== "goodbye") this.#answered(foldedName, record.type);
    if (result === "renewed") return;
    if (data.kind === "pointer") {
      const known = this.#know(data.target, foldedName, now);
      if (!known.told.has(foldedName)) known.told.set(foldedName, undefined);
      this.#dirty.add(known.foldedName);
    } else if (data.kind === "address") {
      for (const instance of this.#hosts.get(foldedName) ?? []) this.#dirty.add(instance);
    } else {
      if (data.kind === "service") this.#updateHosts(foldedName, now);
      this.#dirty.add(foldedName);
    }
  }

  /** A service type that somebody announces, for whoever enumerates them (RFC 6763 9). */
  #handleServiceType(record: ResourceRecord, now: number): void {
    const service = foldName(record.name);
    if (!this.#browsed.has(service) || record.data.kind !== "pointer") return;
    const [name, protocol, ...domain] = splitName(foldName(record.data.target));
    if (!protocol || domain.join(".") !== splitName(service).slice(3).join(".")) return;
    if (this.#cache.put(record, now) !== "new") return;
    this.#events.push({ type: "service-type", service, serviceType: `${name}.${protocol}` });
  }

  /** NSEC: types it does not list do not exist (RFC 6762 6.1); asking for them is pointless. */
  #handleDenial(record: ResourceRecord, now: number): void {
    if (record.data.kind !== "existing-types" || record.ttl === 0) return;
    const foldedName = foldName(record.name);
    const until = now + Math.min(record.ttl * 1000, longestInterval);
    for (const type of [RecordType.A, RecordType.AAAA, RecordType.SRV, RecordType.TXT]) {
      const ask = this.#asks.get(askKey(foldedName, type));
      if (!ask?.recurring || record.data.types.includes(type)) continue;
      // The interval goes on doubling: who asks in vain asks every hour in the end.
      this.#plan(ask, Math.max(until, ask.lastAt + ask.interval));
    }
  }

  // --- what others ask

  #handleQuery(message: Message, now: number): void {
    // With TC set, known answers follow that we have not seen (RFC 6762 7.2).
    if (message.truncated) return;
    const needed = new Set<Ask>();
    for (const record of message.answers) {
      const ask = this.#asks.get(askKey(foldName(record.name), record.type));
      // It suppresses answers that we need, if we would not do so too (7.3).
      if (ask && !this.#isKnownAnswer(record, now)) needed.add(ask);
    }
    for (const question of message.questions) {
      if (question.unicast || question.class !== classIn) continue;
      const ask = this.#asks.get(askKey(foldName(question.name), question.type));
      // So soon after our own it is our own, come back by multicast loopback, or no news.
      if (!ask || needed.has(ask) || now - ask.lastAt < shortestInterval) continue;
      ask.heardAt = now;
    }
  }

  #isKnownAnswer({ name, type, data }: ResourceRecord, now: number): boolean {
    if (data.kind !== "pointer") return false;
    const entry = this.#cache.find(foldName(name), type, foldName(data.target));
    return entry !== undefined && this.#cache.isKnownAnswer(entry, now);
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
        suppressed: false,
      };
      this.#asks.set(key, ask);
    } else if (ask.recurring && ask.dueAt !== Infinity) {
      return;
    } else {
      ask.recurring = true;
      ask.count = 0;
    }
    this.#plan(ask, this.#burst(now));
  }

  /**
   * RFC 6762 5.2: 20-120 ms from now, so that hosts woken by the same event do not ask in chorus.
   * What is to be asked meanwhile goes into the same packet.
   */
  #burst(now: number): number {
    if (this.#burstAt <= now) this.#burstAt = now + 20 + this.#random() * 100;
    return this.#burstAt;
  }

  #plan(ask: Ask, at: number): void {
    if (this.#paused) return;
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
    const at = this.#burst(now);
    if (ask.dueAt > at) this.#plan(ask, at);
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
      if (!this.#cache.isKnownAnswer(entry, now)) continue;
      answers.push({
        name: entry.name,
        type: entry.type,
        class: classIn,
        flush: false,
        ttl: Math.floor((entry.expiresAt - now) / 1000),
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
      for (const answer of this.#knownAnswers(ask, now)) answers.push(answer);
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

  /** Makes room for an instance if it must; one that never resolved gives way to a newcomer. */
  #hasRoomFor(foldedName: string, now: number): boolean {
    if (this.#instances.size < this.#maxInstances || this.#instances.has(foldedName)) return true;
    for (const candidate of this.#unresolved) {
      const known = this.#instances.get(candidate)!;
      for (const service of known.told.keys()) {
        this.#cache.removeOne(service, RecordType.PTR, candidate);
      }
      this.#forget(known, now);
      return true;
    }
    return false;
  }

  #know(name: string, foldedService: string, now: number): Known {
    const foldedName = foldName(name);
    const known = this.#instances.get(foldedName);
    if (known) return known;
    const created: Known = {
      name,
      foldedName,
      label: labelOf(name, foldedService),
      told: new Map(),
      hosts: new Set(),
      reconfirmedAt: -Infinity,
    };
    this.#instances.set(foldedName, created);
    this.#unresolved.add(foldedName);
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
    for (const host of known.hosts) if (!hosts.has(host)) this.#releaseHost(host, foldedName, now);
    for (const [host, name] of hosts) {
      const users = this.#hosts.get(host);
      if (users) users.add(foldedName);
      else {
        this.#hosts.set(host, new Set([foldedName]));
        moveAddresses(host, this.#bystanders, this.#cache, now);
        if (this.#families.has("ipv4")) this.#askIfMissing(name, RecordType.A, now);
        if (this.#families.has("ipv6")) this.#askIfMissing(name, RecordType.AAAA, now);
      }
    }
    known.hosts = new Set(hosts.keys());
  }

  #releaseHost(host: string, instance: string, now: number): void {
    const users = this.#hosts.get(host);
    if (!users?.delete(instance) || users.size > 0) return;
    this.#hosts.delete(host);
    for (const type of [RecordType.A, RecordType.AAAA]) this.#stopAsking(host, type);
    moveAddresses(host, this.#cache, this.#bystanders, now);
  }

  #forget(known: Known, now: number): void {
    this.#instances.delete(known.foldedName);
    this.#unresolved.delete(known.foldedName);
    for (const type of [RecordType.SRV, RecordType.TXT]) {
      this.#stopAsking(known.foldedName, type);
      this.#cache.remove(known.foldedName, type);
    }
    for (const host of known.hosts) this.#releaseHost(host, known.foldedName, now);
  }

  #recordGone(entry: CacheEntry, now: number): void {
    const { name, foldedName, type, data } = entry;
    // It had to make room, and was heard again at once.
    if (this.#cache.find(foldedName, type, entry.dataKey)) return;
    switch (data.kind) {
      case "pointer": {
        const known = this.#instances.get(foldName(data.target));
        if (!known) return;
        this.#evaluate(known);
        known.told.delete(foldedName);
        if (known.told.size === 0) this.#forget(known, now);
        return;
      }
      case "address":
        for (const instance of this.#hosts.get(foldedName) ?? []) this.#dirty.add(instance);
        // Whoever still points here wants to know when it is back.
        if (this.#hosts.has(foldedName)) this.#askIfMissing(name, type, now);
        return;
      case "service":
      case "text":
        if (!this.#instances.has(foldedName)) return;
        this.#dirty.add(foldedName);
        if (data.kind === "service") this.#updateHosts(foldedName, now);
        this.#askIfMissing(name, type, now);
        return;
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
    if (instance) this.#unresolved.delete(known.foldedName);
    else this.#unresolved.add(known.foldedName);
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
      label: known.label,
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

/** `_services._dns-sd._udp.<domain>`: its pointers lead to service types (RFC 6763 9). */
function isTypeEnumeration(foldedService: string): boolean {
  return foldedService.startsWith("_services._dns-sd._udp.");
}

/** Moves what is true of a host's addresses; each keeps the time it has left. */
function moveAddresses(host: string, from: RecordCache, to: RecordCache, now: number): void {
  for (const type of [RecordType.A, RecordType.AAAA]) {
    for (const entry of from.usable(host, type)) to.adopt(entry, now);
    from.remove(host, type);
  }
}

function askKey(foldedName: string, type: number): string {
  return `${type} ${foldedName}`;
}

/**
 * True for `<instance>.<service>` (RFC 6763 4.1), whether or not a subtype (7.1) leads there.
 *
 * The instance should be one label, but python-zeroconf makes several of a name with dots.
 */
function isInstanceOf(target: string, foldedService: string): boolean {
  const service = withoutSubtype(foldedService);
  const labels = splitName(foldName(target));
  const own = labels.length - service.length;
  return own > 0 && labels[own - 1] !== "_sub" && labels.slice(own).join(".") === service.join(".");
}

/** What a person calls an instance: all that stands before its service. */
function labelOf(name: string, foldedService: string): string {
  const labels = splitName(name);
  const own = labels.slice(0, labels.length - withoutSubtype(foldedService).length);
  return own.map(labelToText).join(".");
}

/** The labels of a service name. */
function withoutSubtype(foldedService: string): string[] {
  const labels = splitName(foldedService);
  return labels[1] === "_sub" ? labels.slice(2) : labels;
}

function signatureOf(instance: ServiceInstance): string {
  return JSON.stringify([instance.name, instance.targets, [...instance.txt]]);
}
