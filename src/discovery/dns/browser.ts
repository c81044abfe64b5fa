/**
 * The unicast DNS browser: DNS-SD domains and plain SRV names, as one sans-IO machine (RFC 6763,
 * RFC 2782).
 *
 * `handle*` takes in what happened, `poll*` gives out what to do, `nextDeadline` says when to come
 * back. Time is an argument, in monotonic milliseconds. The events are those of mDNS.
 *
 * An instance leaves only on the word of a resolver: because the name that lists it lists others
 * and not it (`withdrawn`), or because there is no list, no server or no address any more
 * (`expired`, which may as well be a fault in the zone).
 *
 * @module
 */
import { compareIp, type Family, type Ip } from "../../model/address.ts";
import {
  type DepartureCause,
  type DiscoveryEvent,
  type DiscoveryQuery,
  queryKey,
  type ServiceInstance,
  type Target,
} from "../../model/instance.ts";
import { type RecordData, RecordType } from "./message.ts";
import { foldName, isEncodable, labelToText, splitName } from "./name.ts";
import type { ResolverSettings } from "./resolv_conf.ts";
import {
  type DnsNotice,
  type DnsResponse,
  type DnsTransmit,
  type Lookup,
  Resolver,
  type ResolverCounters,
} from "./resolver.ts";
import { parseTxt } from "./txt.ts";

/** How to browse. */
export interface DnsBrowserOptions {
  readonly settings: ResolverSettings;
  /** Uniform in [0, 1), and not to be guessed: query ids come from it (RFC 5452 9.2). */
  readonly random: () => number;
  /** Families whose addresses are asked for. */
  readonly families: ReadonlySet<Family>;
}

/** What the events of unicast DNS carry in place of an interface. */
export const dnsInterface = { interfaceIndex: 0, interfaceName: "dns" } as const;

/** Instances of one name; the others are left out, and a person is told. */
export const maxInstances = 1000;
/** SRV records of one DNS-SD instance. */
export const maxTargets = 16;
/** Addresses of one host. */
const maxAddresses = 64;

type ServiceData = Extract<RecordData, { kind: "service" }>;

/** A name that lists instances: by PTR records those of a DNS-SD type, by SRV records servers. */
interface Listing {
  readonly name: string;
  readonly lookup: Lookup;
  /** Who wants to know -> whether it was told that all is known. */
  readonly queries: Map<string, boolean>;
  readonly instances: Map<string, Instance>;
  /** No longer listed, and still told of until what takes their place is known. */
  readonly leaving: Map<string, { instance: Instance; cause: DepartureCause }>;
  /** How many were last left out. */
  refused: number;
}

interface Instance {
  readonly listing: Listing;
  readonly name: string;
  readonly label: string;
  /** Where the listing is of DNS-SD. */
  readonly resolve: { readonly srv: Lookup; readonly txt: Lookup } | undefined;
  /** Sorted by priority, host and port. */
  services: readonly ServiceData[];
  /** Folded name of a host -> its addresses, a lookup a family. */
  readonly hosts: Map<string, readonly Lookup[]>;
  told: ServiceInstance | undefined;
  signature: string;
  /** Has no server or no address any more; whether it is still listed is being asked. */
  doubted: boolean;
}

/** See the module. */
export class DnsBrowser {
  readonly #resolver: Resolver;
  readonly #addressTypes: readonly number[];
  readonly #listings = new Map<string, Listing>();
  /** Who depends on a lookup. */
  readonly #users = new Map<Lookup, Set<Listing | Instance>>();
  readonly #events: DiscoveryEvent[] = [];
  readonly #notices: DnsNotice[] = [];

  constructor({ settings, random, families }: DnsBrowserOptions) {
    this.#resolver = new Resolver(settings, random);
    this.#addressTypes = [
      ...families.has("ipv4") ? [RecordType.A] : [],
      ...families.has("ipv6") ? [RecordType.AAAA] : [],
    ];
  }

  /** What was counted since the start. */
  get counters(): Readonly<ResolverCounters> {
    return this.#resolver.counters;
  }

  /** What it holds. */
  get size(): { readonly lookups: number; readonly instances: number } {
    let instances = 0;
    for (const listing of this.#listings.values()) {
      instances += listing.instances.size + listing.leaving.size;
    }
    return { lookups: this.#resolver.size, instances };
  }

  /**
   * Starts to browse; events carry {@link queryKey} of the query. What is known already is told at
   * once. The interface of a query has no meaning here.
   *
   * @throws {RangeError} when the name cannot be asked for.
   */
  browse(query: DiscoveryQuery, now: number): void {
    const key = queryKey(query);
    const [name, type] = questionOf(query);
    if (!isEncodable(name)) throw new RangeError(`${name} is not a DNS name`);
    const id = `${type} ${foldName(name)}`;
    let listing = this.#listings.get(id);
    if (!listing) {
      listing = {
        name,
        lookup: this.#resolver.watch(name, type, 0, now),
        queries: new Map(),
        instances: new Map(),
        leaving: new Map(),
        refused: 0,
      };
      this.#listings.set(id, listing);
      this.#use(listing.lookup, listing);
    }
    if (listing.queries.has(key)) return;
    listing.queries.set(key, false);
    const leaving = [...listing.leaving.values()].map(({ instance }) => instance);
    for (const { told } of [...listing.instances.values(), ...leaving]) {
      if (told) this.#events.push({ type: "found", query: key, instance: told });
    }
    this.#maybeSettled(listing);
  }

  /** Ends a query: no event carries its key any more, and nothing is told of what it had found. */
  stop(query: DiscoveryQuery): void {
    const key = queryKey(query);
    const [name, type] = questionOf(query);
    const id = `${type} ${foldName(name)}`;
    const listing = this.#listings.get(id);
    if (!listing?.queries.delete(key)) return;
    const kept = this.#events.filter((event) => event.query !== key);
    this.#events.splice(0, this.#events.length, ...kept);
    if (listing.queries.size > 0) return;
    this.#listings.delete(id);
    for (const instance of listing.instances.values()) this.#forget(instance);
    for (const { instance } of listing.leaving.values()) this.#forget(instance);
    this.#disuse(listing.lookup, listing);
  }

  /** Other resolvers, or other patience. */
  configure(settings: ResolverSettings, now: number): void {
    this.#resolver.configure(settings, now);
  }

  /** Takes in what arrived on the socket of a query. Never throws, whatever it holds. */
  handleResponse(response: DnsResponse, now: number): void {
    this.#resolver.handleResponse(response, now);
    this.#collect(now);
  }

  /** The socket of a query has failed, or was closed by the server. */
  handleFailure(exchange: number, why: string, now: number): void {
    this.#resolver.handleFailure(exchange, why, now);
    this.#collect(now);
  }

  /** Does what is due. */
  handleTimeout(now: number): void {
    this.#resolver.handleTimeout(now);
    this.#collect(now);
  }

  /** When {@link handleTimeout} has something to do, or Infinity. */
  nextDeadline(): number {
    return this.#resolver.nextDeadline();
  }

  /** The next query to send, or undefined. */
  pollTransmit(): DnsTransmit | undefined {
    return this.#resolver.pollTransmit();
  }

  /** The next query whose socket is needed no more, or undefined. */
  pollClosed(): number | undefined {
    return this.#resolver.pollClosed();
  }

  /** The next thing to tell the pool, or undefined. */
  pollEvent(): DiscoveryEvent | undefined {
    return this.#events.shift();
  }

  /** The next thing to tell a person, or undefined. */
  pollNotice(): DnsNotice | undefined {
    return this.#resolver.pollNotice() ?? this.#notices.shift();
  }

  // --- what is asked

  #use(lookup: Lookup, user: Listing | Instance): void {
    const users = this.#users.get(lookup);
    if (users) users.add(user);
    else this.#users.set(lookup, new Set([user]));
  }

  #disuse(lookup: Lookup, user: Listing | Instance): void {
    const users = this.#users.get(lookup);
    if (users?.delete(user) && users.size === 0) this.#users.delete(lookup);
    this.#resolver.release(lookup);
  }

  #forget(instance: Instance): void {
    if (instance.resolve) this.#disuse(instance.resolve.txt, instance);
    for (const lookup of needsOf(instance)) this.#disuse(lookup, instance);
  }

  // --- what is answered

  /** Follows every change to its end; what an answer brought along may cause further ones. */
  #collect(now: number): void {
    const touched = new Set<Listing>();
    for (let lookup; (lookup = this.#resolver.pollChanged());) {
      for (const user of [...this.#users.get(lookup) ?? []]) {
        const listing = "listing" in user ? user.listing : user;
        touched.add(listing);
        if ("listing" in user) this.#refresh(user, now);
        else this.#relist(user, now);
      }
    }
    for (const listing of touched) {
      this.#letLeave(listing);
      this.#maybeSettled(listing);
    }
  }

  /** Compares what a name lists with what it listed. */
  #relist(listing: Listing, now: number): void {
    const { records } = listing.lookup;
    if (records === undefined) return;
    const listed = this.#limit(listing, listedBy(records.map(({ data }) => data)));
    const doubted = new Set([...listing.instances.values()].filter((each) => each.doubted));
    for (const [id, instance] of listing.instances) {
      if (listed.has(id)) continue;
      listing.instances.delete(id);
      const cause = records.length > 0 ? "withdrawn" : "expired";
      listing.leaving.set(id, { instance, cause });
    }
    for (const [id, { name, service }] of listed) {
      let instance = listing.instances.get(id);
      if (!instance) {
        instance = listing.leaving.get(id)?.instance ?? this.#appear(listing, name, service, now);
        listing.leaving.delete(id);
        listing.instances.set(id, instance);
      }
      if (service) instance.services = [service];
      this.#refresh(instance, now);
      if (doubted.has(instance) && instance.doubted) this.#lose(instance, "expired");
    }
  }

  /** What is known already stays, so that a list that is too long does not make members flap. */
  #limit<T>(listing: Listing, listed: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
    const refused = Math.max(0, listed.size - maxInstances);
    if (refused > 0 && listing.refused === 0) {
      this.#notices.push({
        level: "warning",
        text:
          `${listing.name} lists ${listed.size} instances; only ${maxInstances} of them are used`,
      });
    }
    listing.refused = refused;
    if (refused === 0) return listed;
    const known = ([id]: [string, T]) => listing.instances.has(id) ? 0 : 1;
    return new Map([...listed].sort((a, b) => known(a) - known(b)).slice(0, maxInstances));
  }

  #appear(
    listing: Listing,
    name: string,
    service: ServiceData | undefined,
    now: number,
  ): Instance {
    const srv = service ? undefined : this.#resolver.watch(name, RecordType.SRV, 1, now);
    const txt = service ? undefined : this.#resolver.watch(name, RecordType.TXT, 1, now);
    const instance: Instance = {
      listing,
      name,
      label: service ? name : labelToText(splitName(name)[0]!),
      resolve: srv && txt && { srv, txt },
      services: [],
      hosts: new Map(),
      told: undefined,
      signature: "",
      doubted: false,
    };
    if (srv) this.#use(srv, instance);
    if (txt) this.#use(txt, instance);
    return instance;
  }

  /** Follows an instance to its hosts, and tells what has changed. */
  #refresh(instance: Instance, now: number): void {
    if (instance.resolve) {
      instance.services = servicesOf(instance.resolve.srv).slice(0, maxTargets);
    }
    const wanted = new Map(instance.services.map(({ target }) => [foldName(target), target]));
    for (const [host, lookups] of instance.hosts) {
      if (wanted.has(host)) continue;
      instance.hosts.delete(host);
      for (const lookup of lookups) this.#disuse(lookup, instance);
    }
    for (const [host, name] of wanted) {
      if (instance.hosts.has(host)) continue;
      const level = instance.resolve ? 2 : 1;
      const lookups = this.#addressTypes.map((type) =>
        this.#resolver.watch(name, type, level, now)
      );
      for (const lookup of lookups) this.#use(lookup, instance);
      instance.hosts.set(host, lookups);
    }
    this.#tell(instance, now);
  }

  #tell(instance: Instance, now: number): void {
    const targets = targetsOf(instance);
    if (targets.length === 0) {
      // Unless all is answered, it may only be on its way to another host.
      if (instance.told && isResolved(instance)) this.#doubt(instance, now);
      return;
    }
    const { name, label, resolve } = instance;
    const told = { name, label, ...dnsInterface, targets, txt: txtOf(resolve?.txt) };
    const signature = JSON.stringify([name, targets, [...told.txt]]);
    instance.doubted = false;
    if (signature === instance.signature) return;
    instance.signature = signature;
    instance.told = told;
    this.#toAll(instance.listing, (query) => ({ type: "found", query, instance: told }));
  }

  /**
   * What is left of an instance without an address? If its list does not name it any more, somebody
   * removed it, and only that TTL is not over yet: the list is looked at before a verdict.
   */
  #doubt(instance: Instance, now: number): void {
    if (instance.doubted) return;
    instance.doubted = true;
    this.#resolver.hurry(instance.listing.lookup, now);
  }

  #lose(instance: Instance, cause: DepartureCause): void {
    instance.doubted = false;
    if (!instance.told) return;
    const { name } = instance;
    instance.told = undefined;
    instance.signature = "";
    const { interfaceIndex } = dnsInterface;
    this.#toAll(
      instance.listing,
      (query) => ({ type: "lost", query, name, interfaceIndex, cause }),
    );
  }

  #toAll(listing: Listing, event: (query: string) => DiscoveryEvent): void {
    for (const query of listing.queries.keys()) this.#events.push(event(query));
  }

  /**
   * Arrivals first: who is no longer listed leaves when the addresses of those who are were asked
   * for, so that a rollout which replaces every server at once is never without one.
   */
  #letLeave(listing: Listing): void {
    if (listing.leaving.size === 0 || [...listing.instances.values()].some(isPending)) return;
    for (const { instance, cause } of listing.leaving.values()) {
      this.#lose(instance, cause);
      this.#forget(instance);
    }
    listing.leaving.clear();
  }

  #maybeSettled(listing: Listing): void {
    if (listing.lookup.records === undefined) return;
    if (![...listing.queries.values()].includes(false)) return;
    if (![...listing.instances.values()].every(isResolved)) return;
    for (const [query, settled] of listing.queries) {
      if (settled) continue;
      listing.queries.set(query, true);
      this.#events.push({ type: "settled", query });
    }
  }
}

function questionOf(query: DiscoveryQuery): [name: string, type: number] {
  return "srvName" in query
    ? [query.srvName, RecordType.SRV]
    : [`${query.serviceType}.${query.domain}`, RecordType.PTR];
}

interface Listed {
  readonly name: string;
  /** For a server that is listed by its SRV record. */
  readonly service: ServiceData | undefined;
}

/** What records list, in an order that does not depend on theirs, which resolvers shuffle. */
function listedBy(records: readonly RecordData[]): ReadonlyMap<string, Listed> {
  const listed = new Map<string, Listed>();
  for (const data of records) {
    if (data.kind !== "pointer" || !isEncodable(data.target) || data.target === "") continue;
    listed.set(foldName(data.target), { name: data.target, service: undefined });
  }
  for (const service of sortServices(records)) {
    const id = `${foldName(service.target)}:${service.port}`;
    // The first of several is the one with the best priority.
    if (!listed.has(id)) listed.set(id, { name: `${service.target}:${service.port}`, service });
  }
  return new Map([...listed].sort(([a], [b]) => a < b ? -1 : 1));
}

function servicesOf(srv: Lookup): readonly ServiceData[] {
  return sortServices((srv.records ?? []).map(({ data }) => data));
}

function sortServices(records: readonly RecordData[]): readonly ServiceData[] {
  // A target of "." says that the service is decidedly not available (RFC 2782).
  const services = records.filter((data) =>
    data.kind === "service" && data.port !== 0 && data.target !== "" && isEncodable(data.target)
  ) as ServiceData[];
  return services.sort((a, b) =>
    a.priority - b.priority ||
    (a.target < b.target ? -1 : a.target > b.target ? 1 : 0) || a.port - b.port ||
    b.weight - a.weight
  );
}

function targetsOf({ services, hosts }: Instance): readonly Target[] {
  const targets: Target[] = [];
  for (const { target, port, priority, weight } of services) {
    const addresses = addressesOf(hosts.get(foldName(target)) ?? []);
    if (addresses.length > 0) targets.push({ host: target, port, priority, weight, addresses });
  }
  return targets;
}

function addressesOf(lookups: readonly Lookup[]): Ip[] {
  const addresses = new Set<Ip>();
  for (const { records } of lookups) {
    for (const { data } of records ?? []) if (data.kind === "address") addresses.add(data.address);
  }
  return [...addresses].sort(compareIp).slice(0, maxAddresses);
}

function txtOf(lookup: Lookup | undefined): ReadonlyMap<string, string | null> {
  for (const { data } of lookup?.records ?? []) {
    if (data.kind === "text") return parseTxt(data.strings);
  }
  return new Map();
}

/** The questions whose answers make an instance usable. TXT may come later. */
function* needsOf({ resolve, hosts }: Instance): Iterable<Lookup> {
  if (resolve) yield resolve.srv;
  for (const lookups of hosts.values()) yield* lookups;
}

/** Every question about it was answered: what it has not, it has not. */
function isResolved(instance: Instance): boolean {
  for (const { records } of needsOf(instance)) if (records === undefined) return false;
  return true;
}

/** A question about it has yet to be answered for the first time, and nobody failed to. */
function isPending(instance: Instance): boolean {
  for (const { records, failures } of needsOf(instance)) {
    if (records === undefined && failures === 0) return true;
  }
  return false;
}
