/**
 * The mDNS browser: every query on every interface, as one sans-IO machine (RFC 6762, RFC 6763).
 *
 * `handle*` takes in what happened, `poll*` gives out what to do, `nextDeadline` says when to come
 * back. Time is an argument, in monotonic milliseconds.
 *
 * @module
 */
import type { Family } from "../../model/address.ts";
import {
  type BrowseQuery,
  type DepartureCause,
  type DiscoveryEvent,
  queryKey,
} from "../../model/instance.ts";
import { decodeMessage } from "../dns/message.ts";
import { foldName, isEncodable } from "../dns/name.ts";
import { recoveryTime } from "./cache.ts";
import { Link, type LinkCounters, type LinkSize } from "./link.ts";

/** An interface mDNS can run on. */
export interface LinkInterface {
  readonly index: number;
  readonly name: string;
}

/** A datagram that arrived on a multicast socket. */
export interface ReceivedPacket {
  readonly interfaceIndex: number;
  readonly sourcePort: number;
  readonly bytes: Uint8Array;
}

/** A datagram to multicast on one interface, over every family it has. */
export interface TransmitPacket {
  readonly interfaceIndex: number;
  readonly bytes: Uint8Array;
}

/** What the browser counted since it was made. */
export interface BrowserCounters extends LinkCounters {
  /** Packets, our own that come back by multicast loopback included. */
  received: number;
  /** Larger than RFC 6762 17 allows, or shorter than a header. */
  malformedPackets: number;
  /** Records and questions left out of otherwise good packets. */
  malformedRecords: number;
  /** Responses from another port than 5353 (RFC 6762 6). */
  wrongPort: number;
  transmitted: number;
}

/** How to browse. */
export interface BrowserOptions {
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Families whose addresses are asked for. */
  readonly families: ReadonlySet<Family>;
  /** Milliseconds an unconfirmed record is believed at the most; Infinity: its TTL decides. */
  readonly maxLifetime: number;
  /** Records kept per interface. */
  readonly maxRecords: number;
}

/** How long an interface may be away before what was seen through it is lost (RFC 6762 10.3). */
export const interfaceGrace = 10_000;

/** The port of mDNS. */
export const mdnsPort = 5353;

interface Query {
  readonly key: string;
  /** Folded `_foo._tcp.local`. */
  readonly service: string;
  readonly interfaceName: string;
  settled: boolean;
}

interface LinkState {
  readonly link: Link;
  /** When it is given up after its interface went away; Infinity while it is there. */
  closesAt: number;
}

/** See the module. */
export class MdnsBrowser {
  readonly counters: BrowserCounters = {
    received: 0,
    malformedPackets: 0,
    malformedRecords: 0,
    wrongPort: 0,
    transmitted: 0,
    refusedInstances: 0,
  };
  readonly #options: BrowserOptions;
  readonly #queries = new Map<string, Query>();
  /** The same by folded service name. */
  readonly #byService = new Map<string, Query[]>();
  readonly #links = new Map<number, LinkState>();
  readonly #events: DiscoveryEvent[] = [];

  constructor(options: BrowserOptions) {
    this.#options = options;
  }

  /**
   * Starts to browse; events carry {@link queryKey} of the query. What is known already, because
   * another query is about the same service, is told at once.
   *
   * @throws {RangeError} when the service name cannot be asked for.
   */
  browse(query: BrowseQuery, now: number): void {
    const key = queryKey(query);
    if (this.#queries.has(key)) return;
    const service = foldName(`${query.serviceType}.${query.domain}`);
    if (!isEncodable(service)) throw new RangeError(`${service} is not a DNS name`);
    const added: Query = { key, service, interfaceName: query.interfaceName, settled: false };
    this.#queries.set(key, added);
    const same = this.#byService.get(service);
    if (same) same.push(added);
    else this.#byService.set(service, [added]);
    for (const { link } of this.#links.values()) {
      if (!covers(added, link)) continue;
      link.browse(service, now);
      for (const instance of link.instancesOf(service)) {
        this.#events.push({ type: "found", query: key, instance });
      }
    }
    this.#maybeSettled(added);
  }

  /** Ends a query: no event carries its key any more, and nothing is told of what it had found. */
  stop(query: BrowseQuery, now: number): void {
    const key = queryKey(query);
    const ended = this.#queries.get(key);
    if (!ended) return;
    this.#queries.delete(key);
    const others = this.#byService.get(ended.service)!.filter((other) => other !== ended);
    if (others.length > 0) this.#byService.set(ended.service, others);
    else this.#byService.delete(ended.service);
    for (const { link } of this.#links.values()) {
      if (!others.some((other) => covers(other, link))) link.stop(ended.service, now);
    }
    const kept = this.#events.filter((event) => event.query !== key);
    this.#events.splice(0, this.#events.length, ...kept);
  }

  /**
   * An interface is there, is there again, or has gained a socket: asks on it. If it was away, what
   * was known of it is in doubt. If it takes the place of one with the same name, as after a driver
   * was reloaded, what was known of that one goes as soon as this one had its chance.
   */
  interfaceUp(present: LinkInterface, now: number): void {
    const known = this.#links.get(present.index);
    if (known && known.link.name === present.name) {
      known.closesAt = Infinity;
      known.link.restart(now);
      return;
    }
    if (known) this.#close(known);
    for (const state of this.#links.values()) {
      if (state.link.name !== present.name || state.closesAt === Infinity) continue;
      state.closesAt = Math.min(state.closesAt, now + recoveryTime);
    }
    const link = new Link(
      present.index,
      present.name,
      this.#options.families,
      this.#options,
      this.counters,
    );
    this.#links.set(present.index, { link, closesAt: Infinity });
    for (const query of this.#queries.values()) {
      if (covers(query, link)) link.browse(query.service, now);
    }
  }

  /** An interface is gone. What was seen through it stays for {@link interfaceGrace}. */
  interfaceDown(interfaceIndex: number, now: number): void {
    const known = this.#links.get(interfaceIndex);
    if (!known || known.closesAt !== Infinity) return;
    known.closesAt = now + interfaceGrace;
    known.link.pause();
  }

  /**
   * An instance does not serve: unless it is heard of again within 10 s it is lost (RFC 6762 10.4).
   * May be called as often as a health check fails.
   */
  reconfirm(instanceName: string, now: number): void {
    for (const { link } of this.#links.values()) link.reconfirm(instanceName, now);
  }

  /** Time has passed that the clock did not count, as in a suspended machine: doubts everything. */
  reconfirmAll(now: number): void {
    for (const { link } of this.#links.values()) link.reconfirmAll(now);
  }

  /**
   * Milliseconds until the first record that an instance needs runs out on this interface, unless
   * it is heard again; 0 for one that is not known.
   */
  timeLeft(name: string, interfaceIndex: number, now: number): number {
    return this.#links.get(interfaceIndex)?.link.timeLeft(name, now) ?? 0;
  }

  /** What it holds, by interface index. */
  sizes(): ReadonlyMap<number, LinkSize> {
    return new Map([...this.#links].map(([index, { link }]) => [index, link.size]));
  }

  /** Takes in a datagram. Never throws, whatever it holds. */
  handlePacket(packet: ReceivedPacket, now: number): void {
    const state = this.#links.get(packet.interfaceIndex);
    if (!state) return;
    this.counters.received++;
    const message = decodeMessage(packet.bytes);
    if (!message) {
      this.counters.malformedPackets++;
      return;
    }
    this.counters.malformedRecords += message.skipped;
    if (packet.sourcePort !== mdnsPort) {
      // Queries from other ports are one-shot ones (6.7): nothing to learn from those either.
      if (message.response) this.counters.wrongPort++;
      return;
    }
    state.link.handleMessage(message, now);
    this.#collect(state.link);
  }

  /** Does what is due. */
  handleTimeout(now: number): void {
    for (const state of this.#links.values()) {
      if (state.closesAt <= now) {
        this.#close(state);
        continue;
      }
      state.link.handleTimeout(now);
      this.#collect(state.link);
    }
  }

  /** When {@link handleTimeout} has something to do, or Infinity. */
  nextDeadline(): number {
    let next = Infinity;
    for (const { link, closesAt } of this.#links.values()) {
      next = Math.min(next, closesAt, link.nextDeadline());
    }
    return next;
  }

  /** The next datagram to send, or undefined. */
  pollTransmit(): TransmitPacket | undefined {
    for (const { link } of this.#links.values()) {
      const bytes = link.pollTransmit();
      if (!bytes) continue;
      this.counters.transmitted++;
      return { interfaceIndex: link.index, bytes };
    }
    return undefined;
  }

  /** The next thing to tell the pool, or undefined. */
  pollEvent(): DiscoveryEvent | undefined {
    return this.#events.shift();
  }

  #close(state: LinkState): void {
    state.link.close();
    this.#collect(state.link);
    this.#links.delete(state.link.index);
    // The others may have been waiting for this one.
    for (const query of this.#queries.values()) this.#maybeSettled(query);
  }

  #collect(link: Link): void {
    for (let event; (event = link.pollEvent());) {
      for (const query of this.#byService.get(event.service) ?? []) {
        if (!covers(query, link)) continue;
        if (event.type === "found") {
          this.#events.push({ type: "found", query: query.key, instance: event.instance });
        } else if (event.type === "lost") {
          this.#lost(query.key, link, event.name, event.cause);
        } else if (event.type === "settled") {
          this.#maybeSettled(query);
        } else {
          this.#events.push({ ...event, query: query.key });
        }
      }
    }
  }

  #lost(query: string, link: Link, name: string, cause: DepartureCause): void {
    this.#events.push({ type: "lost", query, name, interfaceIndex: link.index, cause });
  }

  /** A query has settled when every interface it runs on has, and there is one. */
  #maybeSettled(query: Query): void {
    if (query.settled) return;
    const links = [...this.#links.values()].filter(({ link }) => covers(query, link));
    if (links.length === 0 || !links.every(({ link }) => link.isSettled(query.service))) return;
    query.settled = true;
    this.#events.push({ type: "settled", query: query.key });
  }
}

function covers(query: Query, link: Link): boolean {
  return query.interfaceName === "" || query.interfaceName === link.name;
}
