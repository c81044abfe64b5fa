/**
 * An mDNS responder for tests: it does what RFC 6762 6 to 8 ask of one, and no more. It probes for
 * nothing, since the names in a test are not contested.
 *
 * @module
 */
import {
  encodeMessage,
  type Message,
  MessageEncoder,
  RecordType,
  type ResourceRecord,
} from "../../src/discovery/dns/message.ts";
import { foldName } from "../../src/discovery/dns/name.ts";
import type { End } from "./simulated_link.ts";
import { goodbye, host, nsec, ptr, srv, txt } from "./records.ts";

/** An instance as its responder configures it. */
export interface Announced {
  /** Escaped. */
  readonly label: string;
  /** `_foo._tcp.local`. */
  readonly service: string;
  readonly host: string;
  readonly port: number;
  readonly addresses: readonly string[];
  readonly txt: readonly string[];
}

/** What differs between responders. */
export interface ResponderOptions {
  readonly random: () => number;
  /** Seconds, of SRV and address records. */
  readonly hostTtl?: number;
  /** Seconds, of the others. */
  readonly otherTtl?: number;
  /** Milliseconds after the first at which an announcement is repeated (8.3). */
  readonly repeats?: readonly number[];
  /** Volunteers what will be asked for next (RFC 6763 12). */
  readonly additionals?: boolean;
}

/** An answer that waits, so that the known answers of continued queries can take it back (7.2). */
interface Pending {
  readonly at: number;
  readonly records: Set<string>;
}

/** See the module. */
export class Responder implements End {
  readonly #options: Required<ResponderOptions>;
  readonly #announced = new Map<string, Announced>();
  /** What is true, by identity. */
  #records = new Map<string, ResourceRecord>();
  /** The same by folded name. */
  #byName = new Map<string, ResourceRecord[]>();
  #pending: Pending[] = [];
  #repeats: { readonly at: number; readonly records: readonly ResourceRecord[] }[] = [];
  /** When a record was last multicast (6: not twice within a second). */
  readonly #lastSent = new Map<string, number>();
  readonly #transmits: Uint8Array[] = [];

  constructor(options: ResponderOptions) {
    this.#options = {
      hostTtl: 120,
      otherTtl: 4500,
      repeats: [1000, 3000],
      additionals: true,
      ...options,
    };
  }

  /** What is announced now, by label and service. */
  get announced(): ReadonlyMap<string, Announced> {
    return this.#announced;
  }

  /** Announces an instance, or what changed of it. */
  announce(instance: Announced, now: number): void {
    const key = `${instance.label}.${instance.service}`;
    const before = this.#records;
    this.#announced.set(key, instance);
    this.#rebuild();
    const news = [...this.#records.keys()].filter((id) => !before.has(id));
    // A set with the cache-flush bit is sent whole (10.2).
    const sets = new Set(news.map((id) => setOf(this.#records.get(id)!)));
    const records = [...this.#records.values()].filter((record) => sets.has(setOf(record)));
    this.#transmit(records, [], now);
    for (const delay of this.#options.repeats) this.#repeats.push({ at: now + delay, records });
  }

  /** Withdraws an instance with a goodbye. */
  withdraw(key: string, now: number): void {
    const before = this.#records;
    this.#announced.delete(key);
    this.#rebuild();
    const gone = [...before].filter(([id]) => !this.#records.has(id)).map(([, record]) => record);
    this.#transmit(gone.map(goodbye), [], now, true);
  }

  /** Is gone without a word. */
  crash(): void {
    this.#announced.clear();
    this.#rebuild();
    this.#repeats = [];
    this.#pending = [];
    this.#transmits.length = 0;
  }

  handlePacket(_bytes: Uint8Array, message: Message, now: number): void {
    if (message.response) return;
    if (message.questions.length === 0) {
      if (this.#pending.length === 0) return;
      const isKnown = this.#knownIn(message);
      for (const { records } of this.#pending) {
        for (const id of records) if (isKnown(id)) records.delete(id);
      }
      return;
    }
    const records = new Set<string>();
    let shared = false;
    let isKnown: ((id: string) => boolean) | undefined;
    for (const question of message.questions) {
      const named = this.#byName.get(fold(question.name));
      if (!named) continue;
      const matching = named.filter(({ type }) =>
        type === question.type || question.type === RecordType.ANY
      );
      for (const record of matching) {
        const id = identity(record);
        if ((isKnown ??= this.#knownIn(message))(id)) continue;
        records.add(id);
        shared ||= !record.flush;
      }
      if (matching.length === 0) this.#deny(named);
    }
    if (records.size === 0) return;
    // 6, 7.2
    const delay = message.truncated
      ? 400 + this.#options.random() * 100
      : shared
      ? 20 + this.#options.random() * 100
      : 0;
    this.#pending.push({ at: now + delay, records });
  }

  nextDeadline(): number {
    let next = Infinity;
    for (const { at } of this.#pending) next = Math.min(next, at);
    for (const { at } of this.#repeats) next = Math.min(next, at);
    return next;
  }

  handleTimeout(now: number): void {
    const due = this.#pending.filter(({ at }) => at <= now);
    this.#pending = this.#pending.filter(({ at }) => at > now);
    const ids = new Set(due.flatMap(({ records }) => [...records]));
    const records = [...ids].flatMap((id) => this.#records.get(id) ?? []);
    if (records.length > 0) this.#transmit(records, this.#additionals(records), now);
    const repeats = this.#repeats.filter(({ at }) => at <= now);
    this.#repeats = this.#repeats.filter(({ at }) => at > now);
    for (const { records } of repeats) {
      // What is true no longer is not repeated.
      const current = records.filter((record) => this.#records.has(identity(record)));
      if (current.length > 0) this.#transmit(current, [], now);
    }
  }

  pollTransmit(): Uint8Array | undefined {
    return this.#transmits.shift();
  }

  #rebuild(): void {
    const { hostTtl, otherTtl } = this.#options;
    this.#records = new Map();
    for (const [key, { service, host: name, port, addresses, txt: strings }] of this.#announced) {
      for (
        const record of [
          ptr(service, key, otherTtl),
          srv(key, name, port, hostTtl),
          txt(key, strings, otherTtl),
          ...addresses.map((address) => host(name, address, hostTtl)),
        ]
      ) {
        this.#records.set(identity(record), record);
      }
    }
    this.#byName = Map.groupBy(this.#records.values(), ({ name }) => fold(name));
  }

  /** Tells whether the asker knows a record already (7.1). */
  #knownIn({ answers }: Message): (id: string) => boolean {
    const known = new Map(answers.map((record) => [identity(record), record.ttl]));
    return (id) => (known.get(id) ?? 0) * 2 >= (this.#records.get(id)?.ttl ?? Infinity);
  }

  #deny(named: readonly ResourceRecord[]): void {
    const types = [...new Set(named.map(({ type }) => type))];
    const record = nsec(named[0]!.name, types, this.#options.hostTtl);
    this.#transmits.push(encodeMessage({ response: true, authoritative: true, answers: [record] }));
  }

  #additionals(answers: readonly ResourceRecord[]): ResourceRecord[] {
    if (!this.#options.additionals) return [];
    const additionals = new Map<string, ResourceRecord>();
    const add = (name: string) => {
      for (const record of this.#byName.get(fold(name)) ?? []) {
        const id = identity(record);
        if (additionals.has(id)) continue;
        additionals.set(id, record);
        if (record.data.kind === "service") add(record.data.target);
      }
    };
    for (const { data } of answers) {
      if (data.kind === "pointer" || data.kind === "service") add(data.target);
    }
    for (const answer of answers) additionals.delete(identity(answer));
    return [...additionals.values()];
  }

  #transmit(
    answers: readonly ResourceRecord[],
    additionals: readonly ResourceRecord[],
    now: number,
    force: boolean = false,
  ): void {
    const isFresh = (record: ResourceRecord) => {
      const id = identity(record);
      if (!force && now - (this.#lastSent.get(id) ?? -Infinity) < 1000) return false;
      this.#lastSent.set(id, now);
      return true;
    };
    const fresh = answers.filter(isFresh);
    if (fresh.length === 0) return;
    const records = [...fresh, ...additionals];
    for (let i = 0; i < records.length;) {
      const encoder = new MessageEncoder(1440);
      encoder.setFlags({ response: true, authoritative: true });
      while (i < records.length && encoder.record(records[i]!, "answers")) i++;
      this.#transmits.push(encoder.finish());
    }
  }
}

const folded = new Map<string, string>();

/** {@link foldName}, remembered: fifty responders fold the names of every packet. */
function fold(name: string): string {
  let known = folded.get(name);
  if (known === undefined) folded.set(name, known = foldName(name));
  return known;
}

function setOf(record: ResourceRecord): string {
  return `${record.type} ${fold(record.name)}`;
}

const identities = new WeakMap<ResourceRecord, string>();

/** Name, type and data. */
function identity(record: ResourceRecord): string {
  let known = identities.get(record);
  if (known === undefined) {
    const data = JSON.stringify(
      record.data,
      (_, value) => value instanceof Uint8Array ? [...value] : value,
    );
    identities.set(record, known = `${setOf(record)} ${data}`);
  }
  return known;
}
