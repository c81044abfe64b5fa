/**
 * The records of one interface and when they stop being true.
 *
 * A record is identified by folded name, type, class and data (RFC 6762 10.2); TTL and the
 * cache-flush bit are no part of it.
 *
 * @module
 */
import { classIn, type RecordData, type ResourceRecord } from "../dns/message.ts";
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
  /** When it was last heard. */
  readonly receivedAt: number;
  /** For how many milliseconds it is believed from then on. */
  readonly lifetime: number;
  /** When it stops being true. */
  readonly expiresAt: number;
  /** A goodbye was heard: it stays one second, unusable, so that it can be taken back. */
  readonly goodbye: boolean;
  /** Outdated or in doubt: it goes soon unless it is heard again, and no known answer (7.1). */
  readonly doubted: boolean;
}

interface MutableEntry extends CacheEntry {
  /** When it was heard first, or first after a goodbye. */
  trueSince: number;
  receivedAt: number;
  lifetime: number;
  expiresAt: number;
  goodbye: boolean;
  doubted: boolean;
  /** When it is asked for again: at these shares of the span that starts at a time. */
  askPoints: AskPoints;
  /** How many of them are behind it. */
  asked: number;
}

interface AskPoints {
  readonly shares: readonly number[];
  /** Monotonic milliseconds. */
  readonly start: number;
  /** Milliseconds. */
  readonly span: number;
  /** Share of the span that randomness adds at the most. */
  readonly jitter: number;
}

/** What became of a record that was put. */
export type PutResult = "new" | "renewed" | "revived" | "goodbye" | "ignored";

/** How long a record in doubt has to be heard again (RFC 6762 10.4). */
export const reconfirmTime = 10_000;

/**
 * The same for everything that was known through an interface that is whole again after it was away.
 * Shorter, so that the picture is true, and the kernel too, ten seconds after the interface is.
 */
export const recoveryTime = 8000;

/** A second: how long a goodbye or a flushed record stays (RFC 6762 10.1, 10.2). */
export const departureDelay = 1000;

/** No announcer is believed for longer than this, whatever TTL it sends. */
const longestLifetime = 24 * 3600 * 1000;

/** When a record is asked for again, as shares of its lifetime, and what is added (RFC 6762 5.2). */
const refreshShares = [0.80, 0.85, 0.90, 0.95];
const refreshJitter = 0.02;

/**
 * When a record in doubt is asked for, as shares of the time it has left. RFC 6762 10.4 wants two
 * queries or more; the third is for links that lose packets. Pointers go first: their answers
 * usually bring the other records along, and those need no queries then.
 */
const reconfirmShares = [0.1, 0.25, 0.6];
const pointerReconfirmShares = [0, 0.15, 0.5];

/**
 * Records of one name and type: a host has no more addresses, an instance no more servers. Pointers
 * are not limited by this; a service has many instances.
 */
const maxSetSize = 64;

/** How the cache is bounded and where its jitter comes from. */
export interface CacheOptions {
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Milliseconds after which an unconfirmed record is dropped even if its TTL is longer. */
  readonly maxLifetime: number;
  /** Records kept; the one that needs attention soonest makes room. */
  readonly maxRecords: number;
}

/** See the module. */
export class RecordCache {
  readonly #options: CacheOptions;
  readonly #sets = new Map<string, Map<string, MutableEntry>>();
  readonly #deadlines = new Deadlines<MutableEntry>();
  readonly #evicted: MutableEntry[] = [];
  #size = 0;
  /** Records heard together are asked for together: they share what is random. */
  #drawn = 0;
  #drawnAt = -Infinity;

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  /** Number of records. */
  get size(): number {
    return this.#size;
  }

  /** Places the deadlines occupy: what they cost in memory. */
  get deadlines(): number {
    return this.#deadlines.length;
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
      if (known.goodbye) known.trueSince = now;
      this.#renew(known, lifetime, now);
      return result;
    }
    const set = this.#sets.get(key);
    if (record.data.kind !== "pointer" && set && set.size >= maxSetSize) {
      this.#evict(oldestOf(set.values()));
    }
    while (this.#size >= this.#options.maxRecords) {
      // The queue is by next look, which is close enough to "expires soonest".
      const first = this.#deadlines.take(Infinity);
      if (!first) break;
      this.#evict(first);
    }
    const entry: MutableEntry = {
      ...neverDue,
      name: record.name,
      foldedName,
      type: record.type,
      data: record.data,
      dataKey,
      trueSince: now,
      receivedAt: now,
      lifetime,
      expiresAt: now + lifetime,
      goodbye: false,
      doubted: false,
      askPoints: noAskPoints,
      asked: 0,
    };
    // Looked up again, since making room may have removed the set.
    const home = this.#sets.get(key);
    if (home) home.set(dataKey, entry);
    else this.#sets.set(key, new Map([[dataKey, entry]]));
    this.#size++;
    this.#renew(entry, lifetime, now);
    return "new";
  }

  /**
   * Doubts every record of a name and type, or only one: each is asked for and goes in
   * {@link reconfirmTime} unless it is heard again (RFC 6762 10.4). Doubting twice changes nothing.
   */
  reconfirm(foldedName: string, type: number, now: number, dataKey?: string): void {
    for (const entry of this.#sets.get(setKey(foldedName, type))?.values() ?? []) {
      if (entry.doubted || (dataKey !== undefined && entry.dataKey !== dataKey)) continue;
      this.#doubt(entry, now, reconfirmTime);
    }
  }

  /** Doubts everything, as after a time in which nothing could be heard, for so many milliseconds. */
  reconfirmAll(now: number, within: number = reconfirmTime): void {
    for (const set of this.#sets.values()) {
      for (const entry of set.values()) {
        // What is on its way out stays so; what was in doubt was asked for in vain.
        if (entry.askPoints !== noAskPoints) this.#doubt(entry, now, within);
      }
    }
  }

  /** Takes over a record of another cache, with when it was heard and the time it has left. */
  adopt(entry: CacheEntry, now: number): void {
    const { name, type, data, dataKey, foldedName, receivedAt, expiresAt } = entry;
    const ttl = Math.floor((expiresAt - now) / 1000);
    if (ttl === 0) return;
    this.put({ name, type, class: classIn, flush: false, ttl, data }, now);
    const adopted = this.#sets.get(setKey(foldedName, type))?.get(dataKey);
    if (adopted) adopted.receivedAt = receivedAt;
  }

  /**
   * The cache-flush bit was set on a record of this name and type that was heard just now: those
   * heard more than a second ago are outdated and go in a second (RFC 6762 10.2).
   *
   * Those heard since may be of the same set, sent in two packets. Or their announcer crashed,
   * restarted and says something else already, for which a busy reader's second is long enough; so
   * when the flush brought something new, they are in doubt. Not otherwise, lest a host on two
   * interfaces of the same link, each with an address of its own, be asked for ever.
   */
  flushOlder(foldedName: string, type: number, now: number): void {
    const set = this.#sets.get(setKey(foldedName, type));
    if (!set || set.size < 2) return;
    let hasNews = false;
    for (const { trueSince } of set.values()) hasNews ||= trueSince === now;
    for (const entry of set.values()) {
      if (entry.receivedAt < now - departureDelay) this.#expireWithin(entry, now);
      else if (hasNews && entry.receivedAt < now && !entry.doubted) {
        this.#doubt(entry, now, reconfirmTime);
      }
    }
  }

  /**
   * True when the record may be told to responders so that they do not repeat it: at least half its
   * life is left (RFC 6762 7.1), and it is not in doubt.
   */
  isKnownAnswer(entry: CacheEntry, now: number): boolean {
    return !entry.doubted && (entry.expiresAt - now) * 2 >= entry.lifetime;
  }

  /** Forgets one record. */
  removeOne(foldedName: string, type: number, dataKey: string): void {
    const entry = this.#sets.get(setKey(foldedName, type))?.get(dataKey);
    if (!entry) return;
    this.#deadlines.set(entry, Infinity);
    this.#delete(entry);
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

  /**
   * Takes one record that has to be asked for again, or that was removed because it expired or had
   * to make room. A record that made room may be there again by now.
   */
  takeDue(now: number): { readonly entry: CacheEntry; readonly expired: boolean } | undefined {
    const evicted = this.#evicted.pop();
    if (evicted) return { entry: evicted, expired: true };
    const entry = this.#deadlines.take(now);
    if (!entry) return undefined;
    if (entry.expiresAt <= now) {
      this.#delete(entry);
      return { entry, expired: true };
    }
    // A sleeping machine may have passed several of these points: ask once, then go on from here.
    while (askAt(entry) <= now) entry.asked++;
    this.#schedule(entry, now);
    return { entry, expired: false };
  }

  #renew(entry: MutableEntry, lifetime: number, now: number): void {
    entry.receivedAt = now;
    entry.lifetime = lifetime;
    entry.expiresAt = now + lifetime;
    entry.goodbye = false;
    entry.doubted = false;
    entry.askPoints = { shares: refreshShares, start: now, span: lifetime, jitter: refreshJitter };
    entry.asked = 0;
    this.#schedule(entry, now);
  }

  #expireWithin(entry: MutableEntry, now: number): void {
    // Never extending: a record that would have gone sooner still does.
    entry.expiresAt = Math.min(entry.expiresAt, now + departureDelay);
    entry.doubted = true;
    entry.askPoints = noAskPoints;
    this.#schedule(entry, now);
  }

  #doubt(entry: MutableEntry, now: number, within: number): void {
    entry.expiresAt = Math.min(entry.expiresAt, now + within);
    entry.doubted = true;
    const shares = entry.data.kind === "pointer" ? pointerReconfirmShares : reconfirmShares;
    entry.askPoints = { shares, start: now, span: entry.expiresAt - now, jitter: 0 };
    entry.asked = 0;
    this.#schedule(entry, now);
  }

  #schedule(entry: MutableEntry, now: number): void {
    if (now !== this.#drawnAt) {
      this.#drawnAt = now;
      this.#drawn = this.#options.random();
    }
    const { span, jitter } = entry.askPoints;
    const at = askAt(entry) + this.#drawn * jitter * span;
    this.#deadlines.set(entry, Math.min(at, entry.expiresAt));
  }

  #delete(entry: MutableEntry): void {
    const key = setKey(entry.foldedName, entry.type);
    const set = this.#sets.get(key);
    if (!set?.delete(entry.dataKey)) return;
    this.#size--;
    if (set.size === 0) this.#sets.delete(key);
  }

  #evict(entry: MutableEntry): void {
    this.#deadlines.set(entry, Infinity);
    this.#delete(entry);
    this.#evicted.push(entry);
  }
}

const noAskPoints: AskPoints = { shares: [], start: 0, span: 0, jitter: 0 };

/** The next time an entry is to be asked for, randomness not included; Infinity: no more. */
function askAt({ askPoints: { shares, start, span }, asked }: MutableEntry): number {
  const share = shares[asked];
  return share === undefined ? Infinity : start + share * span;
}

function oldestOf(entries: Iterable<MutableEntry>): MutableEntry {
  let oldest: MutableEntry | undefined;
  for (const entry of entries) {
    if (!oldest || entry.receivedAt < oldest.receivedAt) oldest = entry;
  }
  if (!oldest) throw new RangeError("the oldest of none");
  return oldest;
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
