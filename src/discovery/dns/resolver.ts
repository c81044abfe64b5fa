/**
 * Keeps the answers to questions current, as one sans-IO machine.
 *
 * Nothing expires here, unlike in the cache of mDNS: a TTL says when to ask again, and the last good
 * answer stands until a resolver gives another one. A resolver that is silent or fails changes
 * nothing but the time of the next try.
 *
 * @module
 */
import type { Endpoint } from "../../model/address.ts";
import { formatNameserver, type Nameserver } from "../../model/nameserver.ts";
import { Deadlines, neverDue, type Timed } from "../deadlines.ts";
import { decodeMessage, type Message, type ResourceRecord } from "./message.ts";
import { foldName } from "./name.ts";
import {
  companions,
  describeQuestion,
  encodeQuery,
  isAnswerTo,
  judge,
  lifetimeOf,
  maxAliases,
  maxMessageBytes,
  questionKey,
} from "./query.ts";
import type { ResolverSettings } from "./resolv_conf.ts";

/** A question whose answer is kept current. */
export interface Lookup {
  readonly name: string;
  readonly type: number;
  /** The last good answer; empty: there are none; undefined: never answered so far. */
  readonly records: readonly ResourceRecord[] | undefined;
  /** How often in a row every resolver was asked in vain. */
  readonly failures: number;
}

/** A query to send, over a socket of its own, so that its port is as random as its id (RFC 5452). */
export interface DnsTransmit {
  /** Identifies the query; its answer, and the end of its socket, carry the same number. */
  readonly exchange: number;
  readonly protocol: "udp" | "tcp";
  readonly server: Nameserver;
  /** Without the length that goes before it over TCP. */
  readonly bytes: Uint8Array;
}

/** What arrived on the socket of a query. */
export interface DnsResponse {
  readonly exchange: number;
  readonly source: Endpoint;
  readonly bytes: Uint8Array;
}

/** What a person should know. */
export interface DnsNotice {
  readonly level: "info" | "warning" | "debug";
  readonly text: string;
}

/** What was counted since the start. */
export interface ResolverCounters {
  /** Queries over UDP and TCP. */
  sent: number;
  received: number;
  /** Packets too short or too long, and answers with a record that cannot be read. */
  malformed: number;
  /** From another address, or with another id or question: late, or forged. */
  mismatched: number;
  /** Answers cut to fit UDP, which were asked for again over TCP. */
  truncated: number;
  /** Tries that came to nothing. */
  failed: number;
}

/** No question is asked more often, whatever its TTL. */
export const shortestInterval = 1000;
/** No question is asked less often: a TTL of a day must not hide a change for a day. */
export const longestInterval = 3600 * 1000;
/** The same for "there is none": who waits for the first member wants to know soon. */
export const longestNegativeInterval = 300 * 1000;
/** For "there is none" from a server that does not say for how long (RFC 2308 5). */
export const unknownNegativeInterval = 10_000;
/** The longest pause after failures. */
export const longestBackoff = 30_000;

/** Queries under way at a time: a socket each, and no flood for the resolver. */
const maxExchanges = 64;

/**
 * Milliseconds by which what an answer may bring along is asked for later than the answer, for each
 * level below it; and what chance adds, so that directors started together do not ask in chorus.
 */
const levelDelay = 100;
const jitter = 100;

interface MutableLookup extends Lookup, Timed {
  readonly key: string;
  readonly level: number;
  users: number;
  records: readonly ResourceRecord[] | undefined;
  failures: number;
  /** Milliseconds the last answer was good for. */
  lifetime: number;
  exchange: Exchange | undefined;
  /** When a query last left. */
  lastAt: number;
  /** Which server is next, and how many tries of this round were in vain. */
  server: number;
  tries: number;
  /** What is asked now: the name, or the one it is an alias of; and what led there. */
  asking: string;
  aliases: number;
  aliasTtl: number;
}

interface Exchange {
  readonly number: number;
  readonly id: number;
  readonly lookup: MutableLookup;
  readonly server: Nameserver;
  readonly protocol: "udp" | "tcp";
  readonly name: string;
  readonly edns: boolean;
}

/** See the module. */
export class Resolver {
  readonly counters: ResolverCounters = {
    sent: 0,
    received: 0,
    malformed: 0,
    mismatched: 0,
    truncated: 0,
    failed: 0,
  };
  readonly #random: () => number;
  #settings: ResolverSettings;
  readonly #lookups = new Map<string, MutableLookup>();
  readonly #deadlines = new Deadlines<MutableLookup>();
  /** Due, and waiting for a socket; oldest first. */
  readonly #ready = new Set<MutableLookup>();
  readonly #exchanges = new Map<number, Exchange>();
  #lastExchange = 0;
  /** The server to begin with: after a failure the one behind it. */
  #preferred = 0;
  /** Servers that do not understand EDNS. */
  readonly #withoutEdns = new Set<string>();
  /** Lookups that nobody answered when they were last asked. */
  readonly #failing = new Set<MutableLookup>();
  #triesInVain = 0;
  /** What came along with the answer that is being handled. */
  #companions: Map<string, ResourceRecord[]> | undefined;
  #companionsAt = -Infinity;
  readonly #transmits: DnsTransmit[] = [];
  readonly #closed: number[] = [];
  readonly #changed = new Set<MutableLookup>();
  readonly #notices: DnsNotice[] = [];

  /** `random` is uniform in [0, 1) and not to be guessed. */
  constructor(settings: ResolverSettings, random: () => number) {
    this.#settings = settings;
    this.#random = random;
  }

  /** Questions that are kept answered. */
  get size(): number {
    return this.#lookups.size;
  }

  /** Other servers, or other patience: what nobody answered is asked anew. */
  configure(settings: ResolverSettings, now: number): void {
    this.#settings = settings;
    this.#preferred = 0;
    this.#withoutEdns.clear();
    this.#retryFailing(now);
  }

  /**
   * Asks, and goes on asking until it was released as often as it was watched.
   *
   * @param level how many answers stand between this question and the one a person asked.
   */
  watch(name: string, type: number, level: number, now: number): Lookup {
    const key = questionKey(foldName(name), type);
    let lookup = this.#lookups.get(key);
    if (!lookup) {
      lookup = {
        ...neverDue,
        name,
        type,
        key,
        level,
        users: 0,
        records: undefined,
        failures: 0,
        lifetime: longestBackoff,
        exchange: undefined,
        lastAt: -Infinity,
        server: this.#preferred,
        tries: 0,
        asking: name,
        aliases: 0,
        aliasTtl: Infinity,
      };
      this.#lookups.set(key, lookup);
      this.#plan(lookup, now, now);
      const records = now === this.#companionsAt ? this.#companions?.get(key) : undefined;
      if (records) this.#cameAlong(lookup, records, now);
    }
    lookup.users++;
    return lookup;
  }

  /** Asks again as soon as may be. */
  hurry(hurried: Lookup, now: number): void {
    const lookup = this.#own(hurried);
    if (lookup && !lookup.exchange) this.#plan(lookup, now, now);
  }

  /** Takes back one {@link watch}. */
  release(released: Lookup): void {
    const lookup = this.#own(released);
    if (!lookup || --lookup.users > 0) return;
    this.#lookups.delete(lookup.key);
    this.#deadlines.set(lookup, Infinity);
    this.#ready.delete(lookup);
    this.#failing.delete(lookup);
    this.#changed.delete(lookup);
    if (lookup.exchange) this.#close(lookup.exchange);
  }

  /** Takes in what arrived. Never throws, whatever it holds. */
  handleResponse({ exchange: number, source, bytes }: DnsResponse, now: number): void {
    const exchange = this.#exchanges.get(number);
    if (!exchange) return;
    this.counters.received++;
    const { lookup, server, protocol, name } = exchange;
    if (source.address !== server.address || source.port !== server.port) {
      this.counters.mismatched++;
      return;
    }
    const message = decodeMessage(bytes, maxMessageBytes);
    if (!message) {
      this.counters.malformed++;
      return;
    }
    if (!isAnswerTo(message, exchange.id, name, lookup.type)) {
      this.counters.mismatched++;
      return;
    }
    if (message.truncated && protocol === "udp") {
      this.counters.truncated++;
      this.#close(exchange);
      this.#start(lookup, server, "tcp", now);
      return;
    }
    // With one record missing, others would seem to be all there are.
    if (isIncomplete(message, bytes)) {
      this.counters.malformed++;
      this.#tryFailed(exchange, "sends a malformed answer", now);
      return;
    }
    this.#handleAnswer(exchange, message, now);
  }

  /** The socket of a query has failed, or was closed by the server. */
  handleFailure(number: number, why: string, now: number): void {
    const exchange = this.#exchanges.get(number);
    if (exchange) this.#tryFailed(exchange, why, now);
  }

  /** Does what is due. */
  handleTimeout(now: number): void {
    for (let lookup; (lookup = this.#deadlines.take(now));) {
      if (lookup.exchange) this.#tryFailed(lookup.exchange, "does not answer", now);
      else this.#ready.add(lookup);
    }
    for (const lookup of this.#ready) {
      if (this.#exchanges.size >= maxExchanges) break;
      this.#ready.delete(lookup);
      const { servers } = this.#settings;
      this.#start(lookup, servers[lookup.server % servers.length]!, "udp", now);
    }
  }

  /** When {@link handleTimeout} has something to do, or Infinity. */
  nextDeadline(): number {
    if (this.#ready.size > 0 && this.#exchanges.size < maxExchanges) return -Infinity;
    return this.#deadlines.next();
  }

  /** The next query to send, or undefined. */
  pollTransmit(): DnsTransmit | undefined {
    return this.#transmits.shift();
  }

  /** The next query whose socket is needed no more, or undefined. */
  pollClosed(): number | undefined {
    return this.#closed.shift();
  }

  /** The next lookup that was answered, or that nobody answered for the first time. */
  pollChanged(): Lookup | undefined {
    for (const lookup of this.#changed) {
      this.#changed.delete(lookup);
      return lookup;
    }
    return undefined;
  }

  /** The next thing to tell a person, or undefined. */
  pollNotice(): DnsNotice | undefined {
    return this.#notices.shift();
  }

  #own({ name, type }: Lookup): MutableLookup | undefined {
    return this.#lookups.get(questionKey(foldName(name), type));
  }

  // --- asking

  #plan(lookup: MutableLookup, at: number, now: number): void {
    this.#ready.delete(lookup);
    this.#deadlines.set(lookup, Math.max(at, now, lookup.lastAt + shortestInterval));
  }

  #start(lookup: MutableLookup, server: Nameserver, protocol: "udp" | "tcp", now: number): void {
    const exchange: Exchange = {
      number: ++this.#lastExchange,
      id: Math.floor(this.#random() * 0x10000),
      lookup,
      server,
      protocol,
      name: lookup.asking,
      edns: !this.#withoutEdns.has(formatNameserver(server)),
    };
    lookup.exchange = exchange;
    lookup.lastAt = now;
    this.#exchanges.set(exchange.number, exchange);
    this.#deadlines.set(lookup, now + this.#settings.timeout);
    this.counters.sent++;
    const bytes = encodeQuery(exchange.id, exchange.name, lookup.type, exchange.edns);
    this.#transmits.push({ exchange: exchange.number, protocol, server, bytes });
  }

  #close({ number, lookup }: Exchange): void {
    this.#exchanges.delete(number);
    this.#closed.push(number);
    lookup.exchange = undefined;
    this.#deadlines.set(lookup, Infinity);
  }

  // --- answers

  #handleAnswer(exchange: Exchange, message: Message, now: number): void {
    const { lookup, server, name } = exchange;
    const verdict = judge(message, name, lookup.type);
    switch (verdict.kind) {
      case "records":
        this.#companions = companions(message, lookup.name);
        this.#companionsAt = now;
        this.#close(exchange);
        this.#heard(now);
        this.#answered(lookup, verdict.records, Math.min(verdict.ttl, lookup.aliasTtl), now);
        for (const [key, records] of this.#companions) {
          const other = this.#lookups.get(key);
          if (other && other !== lookup) this.#cameAlong(other, records, now);
        }
        return;
      case "none": {
        this.#close(exchange);
        this.#heard(now);
        const seconds = Math.min(verdict.ttl ?? Infinity, lookup.aliasTtl);
        const interval = seconds === Infinity ? unknownNegativeInterval : seconds * 1000;
        this.#answered(lookup, [], Math.min(interval, longestNegativeInterval) / 1000, now);
        return;
      }
      case "alias":
        lookup.aliases += verdict.aliases;
        if (lookup.aliases > maxAliases) {
          return this.#tryFailed(exchange, "gives too long a chain of aliases", now);
        }
        lookup.asking = verdict.name;
        lookup.aliasTtl = Math.min(lookup.aliasTtl, verdict.ttl);
        this.#close(exchange);
        // Another question than before, so it need not wait.
        this.#start(lookup, server, "udp", now);
        return;
      case "failure":
        if (verdict.withoutEdns && exchange.edns) {
          this.#withoutEdns.add(formatNameserver(server));
          this.#close(exchange);
          this.#plan(lookup, now, now);
          return;
        }
        this.#tryFailed(exchange, verdict.why, now);
    }
  }

  /** A good answer; `ttl` in seconds. */
  #answered(
    lookup: MutableLookup,
    records: readonly ResourceRecord[],
    ttl: number,
    now: number,
  ): void {
    lookup.records = records;
    lookup.lifetime = Math.min(Math.max(ttl * 1000, shortestInterval), longestInterval);
    lookup.failures = 0;
    this.#changed.add(lookup);
    if (this.#failing.delete(lookup) && this.#failing.size === 0) {
      this.#tell("info", "every name is answered again");
    }
    // It came along with another answer while its own is still on the way.
    if (lookup.exchange) return;
    this.#newRound(lookup);
    // Not before its end: until then a resolver would repeat what it has in its cache, and since the
    // old answer stands until the new one comes, there is no gap to bridge.
    const later = lookup.level * levelDelay + this.#random() * jitter;
    this.#plan(lookup, now + lookup.lifetime + later, now);
  }

  /**
   * Records of a lookup were in the additional section of another's answer. That confirms what is
   * known, or is a first answer; but as the set may be partial it takes nothing away.
   */
  #cameAlong(lookup: MutableLookup, records: readonly ResourceRecord[], now: number): void {
    if (lookup.records === undefined || isSameData(lookup.records, records)) {
      const ttl = Math.min(...records.map(lifetimeOf));
      this.#answered(lookup, records, ttl, now);
    } else if (!lookup.exchange) {
      this.#plan(lookup, now, now);
    }
  }

  // --- failures

  #tryFailed(exchange: Exchange, why: string, now: number): void {
    const { lookup, server } = exchange;
    const { servers, attempts } = this.#settings;
    this.counters.failed++;
    this.#triesInVain++;
    this.#close(exchange);
    const question = describeQuestion(lookup.name, lookup.type);
    this.#tell("debug", `${formatNameserver(server)} ${why}, asked for ${question}`);
    // Others begin with the next server as well.
    if (lookup.server % servers.length === this.#preferred % servers.length) this.#preferred++;
    lookup.server++;
    lookup.tries++;
    if (lookup.tries < servers.length * attempts) return this.#plan(lookup, now, now);
    lookup.failures++;
    this.#newRound(lookup);
    if (lookup.failures === 1) this.#roundFailed(lookup, `${formatNameserver(server)} ${why}`);
    // As often as if all was well is no burden, so a short TTL means that recovery is seen as soon.
    const longest = Math.min(lookup.lifetime, longestBackoff);
    const backoff = Math.min(shortestInterval * 2 ** (lookup.failures - 1), longest);
    this.#plan(lookup, now + backoff * (0.5 + this.#random() / 2), now);
  }

  #newRound(lookup: MutableLookup): void {
    lookup.server = this.#preferred;
    lookup.tries = 0;
    lookup.asking = lookup.name;
    lookup.aliases = 0;
    lookup.aliasTtl = Infinity;
  }

  #roundFailed(lookup: MutableLookup, last: string): void {
    this.#failing.add(lookup);
    this.#changed.add(lookup);
    const kept = lookup.records === undefined
      ? "nothing is known of it yet"
      : "what it last was is kept";
    // When nothing works, a few examples say so.
    this.#tell(
      this.#failing.size <= 3 ? "warning" : "debug",
      `no resolver answers for ${describeQuestion(lookup.name, lookup.type)} (${last}); ${kept}`,
    );
  }

  /** A resolver answers. If none did before, what they left unanswered need not wait longer. */
  #heard(now: number): void {
    const silent = this.#triesInVain > this.#settings.servers.length;
    this.#triesInVain = 0;
    if (silent) this.#retryFailing(now);
  }

  #retryFailing(now: number): void {
    for (const lookup of this.#failing) {
      const at = now + this.#random() * shortestInterval;
      if (lookup.dueAt !== Infinity && !lookup.exchange) {
        this.#plan(lookup, Math.min(at, lookup.dueAt), now);
      }
    }
  }

  #tell(level: DnsNotice["level"], text: string): void {
    this.#notices.push({ level, text });
  }
}

/** True when the answer section announces more records than could be read. */
function isIncomplete({ answers }: Message, bytes: Uint8Array): boolean {
  return answers.length !== (bytes[6]! << 8 | bytes[7]!);
}

function isSameData(a: readonly ResourceRecord[], b: readonly ResourceRecord[]): boolean {
  const keys = (records: readonly ResourceRecord[]) =>
    JSON.stringify(records.map(({ data }) => JSON.stringify(data)).sort());
  return a.length === b.length && keys(a) === keys(b);
}
