/**
 * The records of one interface and when they stop being true.
 *
 * A record is identified by folded name, type, class and data (RFC 6762 10.2); TTL and the
 * cache-flush bit are no part of it.
 *
 * @module
 */
import type { RecordData, ResourceRecord } from "../dns/message.ts";
import { foldName } from "../dns/name.ts";
import { Deadlines, neverDue, type Timed } from "../deadlines.ts";

/** A record in the cache. */
export interface CacheEntry extends Timed {
  readonly name: string;
  readonly foldedName: string;
  readonly type: number;
  readonly data: RecordData;
  /** Folded identity of the data. */
  readonly dataKey: string;
  /** The responder marked the set as its own alone (cache-flush bit). */
  readonly unique: boolean;
  /** When it was last heard. */
  readonly receivedAt: number;
  /** For how many milliseconds it is believed from then on. */
  readonly lifetime: number;
  /** When it stops being true. */
  readonly expiresAt: number;
  /** A goodbye was heard: it stays one second, unusable, so that it can be taken back. */
  readonly goodbye: boolean;
}

interface MutableEntry extends CacheEntry {
  unique: boolean;
  receivedAt: number;
  lifetime: number;
  expiresAt: number;
  goodbye: boolean;
  /** How many of the four refresh queries are behind it. */
  refreshes: number;
}

/** What became of a record that was put. */
export type PutResult = "new" | "renewed" | "revived" | "goodbye" | "ignored";

/** A second: how long a goodbye or a flushed record stays (RFC 6762 10.1, 10.2). */
export const departureDelay = 1000;

/** No announcer is believed for longer than this, whatever TTL it sends. */
const longestLifetime = 24 * 3600 * 1000;

/** When a record is asked for again, as shares of its lifetime (RFC 6762 5.2). */
const refreshShares = [0.80, 0.85, 0.90, 0.95];

/** How the cache is bounded and where its jitter comes from. */
export interface CacheOptions {
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Milliseconds after which an unconfirmed record is dropped even if its TTL is longer. */
  readonly maxLifetime: number;
  /** Records kept; the one that expires soonest makes room. */
  readonly maxRecords: number;
}

/** See the module. */
export class RecordCache {
  readonly #options: CacheOptions;
  readonly #sets = new Map<string, Map<string, MutableEntry>>();
  readonly #deadlines = new Deadlines<MutableEntry>();
  readonly #evicted: MutableEntry[] = [];
  #size = 0;

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  /** Number of records. */
  get size(): number {
    return this.#size;
  }

  /** Every record of a name and type, goodbyes included. */
  *entries(foldedName: string, type: number): Iterable<CacheEntry> {
    const set = this.#sets.get(setKey(foldedName, type));
    if (set) yield* set.values();
  }

  /** The records of a name and type that are true now. */
  *usable(foldedName: string, type: number): Iterable<CacheEntry> {
    for (const entry of this.entries(foldedName, type)) if (!entry.goodbye) yield entry;
  }

  /** One record, by the identity of its data (for a pointer: the folded target). */
  find(foldedName: string, type: number, dataKey: string): CacheEntry | undefined {
    return this.#sets.get(setKey(foldedName, type))?.get(dataKey);
  }

  /** Takes in a record from a response. */
  put(record: ResourceRecord, now: number): PutResult {
    const foldedName = foldName(record.name);
    const dataKey = keyOfData(record.data);
    const key = setKey(foldedName, record.type);
    const known = this.#sets.get(key)?.get(dataKey);
    if (record.ttl === 0) {
      if (!known || known.goodbye) return "ignored";
      known.goodbye = true;
      this.#expireWithin(known, now);
      return "goodbye";
    }
    const lifetime = Math.min(record.ttl * 1000, this.#options.maxLifetime, longestLifetime);
    if (known) {
      const result = known.goodbye ? "revived" : "renewed";
      known.unique = record.flush;
      known.goodbye = false;
      this.#renew(known, lifetime, now);
      return result;
    }
    this.#makeRoom();
    const entry: MutableEntry = {
      ...neverDue,
      name: record.name,
      foldedName,
      type: record.type,
      data: record.data,
      dataKey,
      unique: record.flush,
      receivedAt: now,
      lifetime,
      expiresAt: now + lifetime,
      goodbye: false,
      refreshes: 0,
    };
    let set = this.#sets.get(key);
    if (!set) this.#sets.set(key, set = new Map());
    set.set(dataKey, entry);
    this.#size++;
    this.#renew(entry, lifetime, now);
    return "new";
  }

  /**
   * The cache-flush bit was set on a record of this name and type: those heard more than a second
   * ago are outdated and go in a second (RFC 6762 10.2).
   */
  flushOlder(foldedName: string, type: number, now: number): void {
    for (const entry of this.#sets.get(setKey(foldedName, type))?.values() ?? []) {
      if (entry.receivedAt < now - departureDelay) this.#expireWithin(entry, now);
    }
  }

  /** Forgets every record of a name and type. */
  remove(foldedName: string, type: number): void {
    const key = setKey(foldedName, type);
    const set = this.#sets.get(key);
    if (!set) return;
    for (const entry of set.values()) this.#deadlines.set(entry, Infinity);
    this.#size -= set.size;
    this.#sets.delete(key);
  }

  /** When {@link takeDue} has something, or Infinity. */
  nextDeadline(): number {
    return this.#evicted.length > 0 ? -Infinity : this.#deadlines.next();
  }

  /** Takes one record that has to be asked for again, or that has just expired and was removed. */
  takeDue(now: number): { readonly entry: CacheEntry; readonly expired: boolean } | undefined {
    const evicted = this.#evicted.pop();
    if (evicted) return { entry: evicted, expired: true };
    const entry = this.#deadlines.take(now);
    if (!entry) return undefined;
    if (entry.expiresAt <= now) {
      this.#delete(entry);
      return { entry, expired: true };
    }
    // A sleeping machine may have passed several refresh points: ask once, then go on from here.
    while (this.#refreshAt(entry) <= now) entry.refreshes++;
    this.#schedule(entry);
    return { entry, expired: false };
  }

  #renew(entry: MutableEntry, lifetime: number, now: number): void {
    entry.receivedAt = now;
    entry.lifetime = lifetime;
    entry.expiresAt = now + lifetime;
    entry.refreshes = 0;
    this.#schedule(entry);
  }

  #expireWithin(entry: MutableEntry, now: number): void {
    // Never extending: a record that would have gone sooner still does.
    entry.expiresAt = Math.min(entry.expiresAt, now + departureDelay);
    entry.refreshes = refreshShares.length;
    this.#schedule(entry);
  }

  #schedule(entry: MutableEntry): void {
    const jitter = entry.refreshes < refreshShares.length
      ? this.#options.random() * 0.02 * entry.lifetime
      : 0;
    this.#deadlines.set(entry, Math.min(this.#refreshAt(entry) + jitter, entry.expiresAt));
  }

  #refreshAt(entry: MutableEntry): number {
    const share = refreshShares[entry.refreshes];
    return share === undefined ? Infinity : entry.receivedAt + share * entry.lifetime;
  }

  #delete(entry: MutableEntry): void {
    const key = setKey(entry.foldedName, entry.type);
    const set = this.#sets.get(key);
    if (!set?.delete(entry.dataKey)) return;
    this.#size--;
    if (set.size === 0) this.#sets.delete(key);
  }

  #makeRoom(): void {
    while (this.#size >= this.#options.maxRecords) {
      // The queue is by next look, which is close enough to "expires soonest".
      const entry = this.#deadlines.take(Infinity);
      if (!entry) return;
      this.#delete(entry);
      this.#evicted.push(entry);
    }
  }
}

function setKey(foldedName: string, type: number): string {
  return `${type} ${foldedName}`;
}

function keyOfData(data: RecordData): string {
  switch (data.kind) {
    case "address":
      return data.address;
    case "pointer":
      return foldName(data.target);
    case "service":
      return `${data.priority} ${data.weight} ${data.port} ${foldName(data.target)}`;
    case "text":
      return data.strings.map((string) => `${string.length}:${latin1(string)}`).join("");
    case "existing-types":
      return `${foldName(data.next)} ${data.types.join(" ")}`;
    case "opaque":
      return latin1(data.bytes);
  }
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
