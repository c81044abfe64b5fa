/**
 * A small network in namespaces for tests: a client, a director, and workers behind it.
 *
 *     client ──public── director ──service── bridge ─┬─ worker1
 *                       (IPVS, klb)                  ├─ worker2
 *                                                    └─ worker3
 *
 * Works inside the lab only (`deno task lab -- deno test ...`). Everything a topology made goes with it.
 *
 * @module
 */
import { type Ip, parseIp } from "../../src/model/address.ts";
import {
  type Announced,
  type Announcement,
  AvahiDaemon,
  ResolvedDaemon,
  ZeroconfAnnounced,
} from "./announce.ts";
import { inLab, NetworkNamespace, setNice } from "./linux.ts";
import { type Finished, LabProcess } from "./process.ts";
import { newIndex, type Prefixed, RtNetlink } from "./rtnetlink.ts";
import { parseIpvsadmTable, parseProcTable, type Table } from "./table.ts";
import { TrafficThread } from "./thread.ts";
import type { HttpResult, ServerStats, UdpResult } from "./thread_protocol.ts";
import { Witness } from "./witness.ts";

export { inLab } from "./linux.ts";
export type {
  Announced,
  Announcement,
  AvahiDaemon,
  ResolvedDaemon,
  ZeroconfAnnounced,
} from "./announce.ts";
export type { Finished, LabProcess } from "./process.ts";
export type { HttpResult, ServerStats, UdpResult } from "./thread_protocol.ts";
export type { MdnsPacket, TableChange, Witness, WitnessEvent } from "./witness.ts";
export { destinationsOf, type Table, type TableDestination, type TableService } from "./table.ts";

/** One segment behind the director, with a bridge of its own. */
export interface LegOptions {
  /** Which workers (1, 2, ...) are on it; default all. */
  readonly workers?: readonly number[];
  /** The bridge forwards multicast only where somebody joined. */
  readonly snooping?: boolean;
  /** What `tc qdisc add dev ... root netem` takes, on each worker's side: `delay 5ms loss 1%`. */
  readonly netem?: string;
}

/** What a topology looks like. */
export interface TopologyOptions {
  /** How many workers; default 3. */
  readonly workers?: number;
  /** Addresses on the director that clients use; default 1.2.3.4 and 2001:db8:1::4. */
  readonly vips?: readonly string[];
  /** Segments by interface name; default one called `service`. */
  readonly legs?: Readonly<Record<string, LegOptions>>;
  /** How workers reach clients: through the director (masquerading) or not at all. */
  readonly workerDefaultRoute?: boolean;
}

/** An interface of a namespace. */
export interface Link {
  readonly name: string;
  readonly index: number;
  readonly ipv4: Ip;
  readonly ipv6: Ip;
}

/** Limits of {@link Host.run}. */
export interface RunOptions {
  readonly timeoutMs?: number;
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

interface World {
  readonly directory: string;
  readonly processes: Set<LabProcess>;
  /** The thread of all traffic. It is in the client's namespace; servers are made in the workers'. */
  traffic(): Promise<TrafficThread>;
  defer(work: () => void | Promise<void>): void;
}

const otherMachines = 10;
let instances = 0;

/** The network; dispose it with `await using`. */
export class Topology implements AsyncDisposable {
  readonly director: Director;
  readonly client: Client;
  readonly workers: readonly Worker[];
  readonly #segments: ReadonlyMap<string, Segment>;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    director: Director,
    client: Client,
    workers: readonly Worker[],
    segments: ReadonlyMap<string, Segment>,
  ) {
    this.#segments = segments;
    this.#stack = stack;
    this.director = director;
    this.client = client;
    this.workers = workers;
  }

  /** Builds it; takes some tens of milliseconds. */
  static async create(options: TopologyOptions = {}): Promise<Topology> {
    if (!inLab) throw new Error("a topology needs the lab: deno task lab -- deno test -A FILE");
    await using stack = new AsyncDisposableStack();
    let owner: AsyncDisposableStack = stack;
    const id = `t${++instances}`;
    const directory = `/run/klb-topology/${Deno.pid}-${id}`;
    Deno.mkdirSync(directory, { recursive: true });
    stack.defer(() => Deno.removeSync(directory, { recursive: true }));

    const spaces: NetworkNamespace[] = [];
    const space = (name: string): NetworkNamespace => {
      const made = stack.use(new NetworkNamespace(`${id}-${name}`));
      spaces.push(made);
      return made;
    };
    const clientSpace = space("client");
    const processes = new Set<LabProcess>();
    let traffic: Promise<TrafficThread> | undefined;
    const world: World = {
      directory,
      processes,
      traffic: () =>
        traffic ??= (async () => {
          const thread = owner.use(new TrafficThread());
          await thread.call("enter", { namespace: clientSpace.path, nice: otherMachines });
          return thread;
        })(),
      defer: (work) => owner.defer(work),
    };

    const vips = (options.vips ?? ["1.2.3.4", "2001:db8:1::4"]).map(ip);
    const workerCount = options.workers ?? 3;
    const legs = Object.entries(options.legs ?? { service: {} });

    const directorSpace = space("director");
    using directorNet = new RtNetlink(directorSpace.path);
    directorSpace.run(() => {
      quietIpv6();
      sysctl("net/ipv4/ip_forward", "1");
      sysctl("net/ipv6/conf/all/forwarding", "1");
      sysctl("net/ipv4/conf/all/send_redirects", "0");
      sysctl("net/ipv4/conf/default/send_redirects", "0");
    });
    using clientNet = new RtNetlink(clientSpace.path);
    clientSpace.run(quietIpv6);
    const directorLinks: Link[] = [link("public", "1.2.3.1", "2001:db8:1::1")];
    const clientLink = link("public", "1.2.3.100", "2001:db8:1::100");
    directorNet.addVeth(directorLinks[0]!, {
      ...clientLink,
      namespace: clientSpace.descriptor,
    });
    raise(directorNet, directorLinks[0]!);
    raise(clientNet, clientLink);
    for (const vip of vips) {
      directorNet.addAddress(directorLinks[0]!.index, { address: vip, length: hostLength(vip) });
    }
    clientNet.addRoute(undefined, directorLinks[0]!.ipv4, clientLink.index);
    clientNet.addRoute(undefined, directorLinks[0]!.ipv6, clientLink.index);

    const workerSpaces = Array.from({ length: workerCount }, (_, i) => {
      const made = space(`worker${i + 1}`);
      made.run(quietIpv6);
      return { space: made, net: new RtNetlink(made.path), links: [] as Link[] };
    });
    using _workerNets = disposeAll(workerSpaces.map((each) => each.net));
    const segments = new Map<string, Segment>();
    const netems: { namespace: NetworkNamespace; name: string; netem: string }[] = [];
    legs.forEach(([name, leg], legIndex) => {
      const subnet = 99 - legIndex;
      const bridgeSpace = space(`${name}-bridge`);
      using bridgeNet = new RtNetlink(bridgeSpace.path);
      bridgeSpace.run(quietIpv6);
      const bridge = newIndex();
      bridgeNet.addBridge("bridge", bridge, leg.snooping ?? false);
      bridgeNet.setLink(bridge, { up: true });
      const plug = (port: { name: string; index: number }) =>
        bridgeNet.setLink(port.index, { up: true, master: bridge });

      const segment = new Segment(name, subnet, directorSpace, directorLinks, bridgeSpace, bridge);
      segments.set(name, segment);
      const own = segment.plugDirector();
      for (const number of leg.workers ?? workerSpaces.map((_, i) => i + 1)) {
        const { space, net, links } = workerSpaces[number - 1]!;
        const mine = link(
          name,
          `192.168.${subnet}.${10 + number}`,
          `2001:db8:${subnet}::${10 + number}`,
        );
        const port = { name: `worker${number}`, index: newIndex() };
        net.addVeth(mine, { ...port, namespace: bridgeSpace.descriptor });
        plug(port);
        segment.ports.set(port.name, port.index);
        raise(net, mine);
        if (links.length === 0 && (options.workerDefaultRoute ?? true)) {
          net.addRoute(undefined, own.ipv4, mine.index);
          net.addRoute(undefined, own.ipv6, mine.index);
        }
        links.push(mine);
        if (leg.netem) netems.push({ namespace: space, name, netem: leg.netem });
      }
    });

    stack.defer(async () => {
      // Also what was started by what we started, as daemons do: whoever is in a namespace of ours.
      const identities = new Set(spaces.map((each) => each.identity));
      for (let i = 0; killInhabitants(identities) > 0 && i < 500; i++) await sleep(10);
      await Promise.all([...processes].map((each) => each[Symbol.asyncDispose]()));
    });

    const director = new Director(world, "director", directorSpace, directorLinks, vips);
    const client = new Client(world, "client", clientSpace, [clientLink]);
    const workers = workerSpaces.map(({ space, links }, i) =>
      new Worker(world, `worker${i + 1}`, space, links)
    );
    for (const { namespace, name, netem } of netems) {
      const host = workers.find((each) => each.namespace === namespace)!;
      await host.must("tc", ["qdisc", "add", "dev", name, "root", "netem", ...netem.split(" ")]);
    }
    owner = stack.move();
    return new Topology(owner, director, client, workers, segments);
  }

  /** The segment behind the director's link of this name. */
  segment(name = "service"): Segment {
    const segment = this.#segments.get(name);
    if (!segment) throw new RangeError(`there is no segment ${name}`);
    return segment;
  }

  /** The worker with this number, from 1. */
  worker(number: number): Worker {
    const worker = this.workers[number - 1];
    if (!worker) throw new RangeError(`there is no worker ${number}`);
    return worker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** A bridge, with the director's link to it. */
export class Segment {
  /** Index of each port of the bridge, by the name of the host behind it. */
  readonly ports = new Map<string, number>();
  readonly #name: string;
  readonly #subnet: number;
  readonly #director: NetworkNamespace;
  readonly #directorLinks: Link[];
  readonly #bridge: NetworkNamespace;
  readonly #bridgeIndex: number;

  constructor(
    name: string,
    subnet: number,
    director: NetworkNamespace,
    directorLinks: Link[],
    bridge: NetworkNamespace,
    bridgeIndex: number,
  ) {
    this.#name = name;
    this.#subnet = subnet;
    this.#director = director;
    this.#directorLinks = directorLinks;
    this.#bridge = bridge;
    this.#bridgeIndex = bridgeIndex;
  }

  /** Gives the director its link to the bridge, with an index that no link has had before. */
  plugDirector(): Link {
    using directorNet = new RtNetlink(this.#director.path);
    using bridgeNet = new RtNetlink(this.#bridge.path);
    const own = link(this.#name, `192.168.${this.#subnet}.1`, `2001:db8:${this.#subnet}::1`);
    const port = { name: "director", index: newIndex() };
    directorNet.addVeth(own, { ...port, namespace: this.#bridge.descriptor });
    bridgeNet.setLink(port.index, { up: true, master: this.#bridgeIndex });
    raise(directorNet, own);
    this.ports.set(port.name, port.index);
    this.#directorLinks.push(own);
    return own;
  }

  /** Deletes the director's link, and with it the port. */
  unplugDirector(): void {
    const at = this.#directorLinks.findIndex(({ name }) => name === this.#name);
    using directorNet = new RtNetlink(this.#director.path);
    directorNet.deleteLink(this.#directorLinks[at]!.index);
    this.#directorLinks.splice(at, 1);
  }

  /** Takes a port down or up: the host behind it loses or gets its carrier. */
  setPort(host: string, state: "up" | "down"): void {
    using bridgeNet = new RtNetlink(this.#bridge.path);
    bridgeNet.setLink(this.ports.get(host)!, { up: state === "up" });
  }

  /** Where the bridge forwards each group to: `ff02::fb` -> hosts; only with snooping. */
  async groups(): Promise<Map<string, Set<string>>> {
    const child = this.#bridge.run(() =>
      new Deno.Command("bridge", {
        args: ["-j", "mdb", "show"],
        stdout: "piped",
        stderr: "inherit",
      }).spawn()
    );
    const [{ mdb }] = JSON.parse(new TextDecoder().decode((await child.output()).stdout));
    const groups = new Map<string, Set<string>>();
    for (const { grp, port } of mdb) groups.set(grp, (groups.get(grp) ?? new Set()).add(port));
    return groups;
  }
}

/** One network namespace, with what can be done in any of them. */
export class Host {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly links: readonly Link[];
  protected readonly world: World;
  /** Other machines do not take the director's CPU; in the lab they give way to it. */
  protected readonly nice: number = otherMachines;
  #avahi: AvahiDaemon | undefined;
  #daemons = 0;

  constructor(world: World, name: string, namespace: NetworkNamespace, links: readonly Link[]) {
    this.world = world;
    this.name = name;
    this.namespace = namespace;
    this.links = links;
  }

  /** Its first link's IPv4 address. */
  get ipv4(): Ip {
    return this.links[0]!.ipv4;
  }

  /** Its first link's IPv6 address. */
  get ipv6(): Ip {
    return this.links[0]!.ipv6;
  }

  /** The link called `name`. */
  link(name: string): Link {
    const link = this.links.find((each) => each.name === name);
    if (!link) throw new RangeError(`${this.name} has no link ${name}`);
    return link;
  }

  /** Starts a process here. It is killed with the topology. */
  spawn(
    command: string,
    args: readonly string[],
    options: { label?: string; env?: Readonly<Record<string, string>>; cwd?: string } = {},
  ): LabProcess {
    return this.#start(command, args, options, "null").process;
  }

  /** Runs a process here to its end; one that outlives `timeoutMs` (30 s) is killed, an error. */
  async run(
    command: string,
    args: readonly string[] = [],
    options: RunOptions = {},
  ): Promise<Finished> {
    const { timeoutMs = 30_000, stdin } = options;
    const { process, child } = this.#start(command, args, options, stdin ? "piped" : "null");
    if (stdin) {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(stdin)).catch(() => {});
      await writer.close().catch(() => {});
    }
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      process.signal("SIGKILL");
    }, timeoutMs);
    const finished = await process.finished;
    clearTimeout(timer);
    this.world.processes.delete(process);
    if (late) {
      throw new Error(`${process.label} did not end within ${timeoutMs} ms:\n${process.log}`);
    }
    return finished;
  }

  /** Like {@link run}, and an exit status other than 0 is an error. Returns standard output. */
  async must(
    command: string,
    args: readonly string[] = [],
    options: RunOptions = {},
  ): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, args, options);
    if (code !== 0) {
      throw new Error(`${this.name}: ${command} ${args.join(" ")}: exit ${code}: ${stderr}`);
    }
    return stdout;
  }

  /** Runs synchronous `work` with the main thread in this namespace; see `inNamespace`. */
  inside<T>(work: () => T): T {
    return this.namespace.run(work);
  }

  /** Sets `net/ipv4/...`. */
  sysctl(name: string, value: string | number): void {
    this.inside(() => sysctl(name, String(value)));
  }

  /** Takes a link up or down, as pulling the plug does on both ends. */
  setLink(name: string, state: "up" | "down"): void {
    using net = new RtNetlink(this.namespace.path);
    net.setLink(this.link(name).index, { up: state === "up" });
  }

  /** Adds an address to a link: `192.0.2.1/24`. */
  addAddress(link: string, address: string): void {
    using net = new RtNetlink(this.namespace.path);
    net.addAddress(this.link(link).index, prefixed(address));
  }

  /** Removes an address from a link. */
  removeAddress(link: string, address: string): void {
    using net = new RtNetlink(this.namespace.path);
    net.removeAddress(this.link(link).index, prefixed(address));
  }

  /** Adds a link of a kind that needs no more than its name: `dummy`. Returns its index. */
  addLink(name: string, kind = "dummy", address?: string): number {
    using net = new RtNetlink(this.namespace.path);
    const index = newIndex();
    net.addLink(name, index, kind);
    net.setLink(index, { up: true, multicast: true });
    if (address !== undefined) net.addAddress(index, prefixed(address));
    return index;
  }

  /** The avahi-daemon that {@link announce} started, if it did. */
  get avahi(): AvahiDaemon | undefined {
    return this.#avahi;
  }

  /**
   * Announces through a real avahi-daemon, which the first call starts. avahi probes first: the
   * announcement leaves about a second later.
   */
  announce(
    announcement: Announcement,
    options: { host?: string; ipv6?: boolean; interfaces?: readonly string[] } = {},
  ): Announced {
    if (this.#avahi && !this.#avahi.process.ended) return this.#avahi.announce(announcement);
    const { daemon, announced } = AvahiDaemon.start(
      (command, args, label) => this.spawn(command, args, { label }),
      {
        directory: `${this.world.directory}/${this.name}-avahi${this.#daemons++}`,
        host: options.host ?? this.name,
        interfaces: options.interfaces ?? this.links.map((each) => each.name),
        ipv6: options.ipv6 ?? true,
        first: announcement,
      },
    );
    this.world.defer(() => daemon[Symbol.asyncDispose]());
    this.#avahi = daemon;
    return announced;
  }

  /** Announces through a real systemd-resolved: the program of `resolvedProgram()`. */
  announceResolved(
    program: string,
    announcement: Announcement,
    options: { interfaces?: readonly string[] } = {},
  ): ResolvedDaemon {
    const daemon = ResolvedDaemon.start(
      (command, args, label) => this.spawn(command, args, { label }),
      {
        program,
        directory: `${this.world.directory}/${this.name}-resolved${this.#daemons++}`,
        host: this.name,
        interfaces: this.links.filter(({ name }) => options.interfaces?.includes(name) ?? true)
          .map(({ index }) => index),
        first: announcement,
      },
    );
    this.world.defer(() => daemon[Symbol.asyncDispose]());
    return daemon;
  }

  /** Announces through python-zeroconf, with the TTLs of your choice. Resolves once announced. */
  async announceZeroconf(
    announcement: Announcement,
    options: {
      host?: string;
      hostTtl?: number;
      otherTtl?: number;
      addresses?: readonly string[];
      /** Names of links; default all. */
      interfaces?: readonly string[];
    } = {},
  ): Promise<ZeroconfAnnounced> {
    const script = new URL("./zeroconf_announce.py", import.meta.url).pathname;
    const updates = `${this.world.directory}/${this.name}-zeroconf${this.#daemons++}`;
    const process = this.spawn("/usr/bin/python3", [
      script,
      updates,
      JSON.stringify({
        name: announcement.name,
        type: announcement.type,
        port: announcement.port,
        txt: announcement.txt ?? {},
        host: options.host ?? this.name,
        hostTtl: options.hostTtl ?? 120,
        otherTtl: options.otherTtl ?? 4500,
        addresses: options.addresses ?? [this.ipv4],
        interfaces: this.links.filter(({ name }) => options.interfaces?.includes(name) ?? true)
          .map((each) => each.ipv4),
      }),
    ], { label: `python-zeroconf of ${this.name}` });
    await process.waitForLog(/registered/, 60_000);
    return new ZeroconfAnnounced(process, updates);
  }

  #start(
    command: string,
    args: readonly string[],
    options: { label?: string; env?: Readonly<Record<string, string>>; cwd?: string },
    stdin: "null" | "piped",
  ): { process: LabProcess; child: Deno.ChildProcess } {
    const child = this.namespace.run(() => {
      setNice(this.nice);
      try {
        return new Deno.Command(command, {
          args: [...args],
          env: { NO_COLOR: "1", ...options.env },
          ...(options.cwd ? { cwd: options.cwd } : {}),
          stdin,
          stdout: "piped",
          stderr: "piped",
        }).spawn();
      } finally {
        setNice(0);
      }
    });
    const process = new LabProcess(
      options.label ?? `${this.name}: ${[command, ...args].join(" ")}`,
      child,
    );
    this.world.processes.add(process);
    return { process, child };
  }
}

/** The host with the IPVS table, on which klb runs. */
export class Director extends Host {
  /** The addresses clients use. */
  readonly vips: readonly Ip[];
  /** As packaging/systemd/klb.service has it. */
  protected override readonly nice = -10;

  constructor(
    world: World,
    name: string,
    namespace: NetworkNamespace,
    links: readonly Link[],
    vips: readonly Ip[],
  ) {
    super(world, name, namespace, links);
    this.vips = vips;
  }

  /** Runs ipvsadm(8); an exit status other than 0 is an error. */
  ipvsadm(args: readonly string[], stdin?: string): Promise<string> {
    return this.must("ipvsadm", args, stdin === undefined ? {} : { stdin });
  }

  /** The table as /proc/net/ip_vs has it: at once, without a process. */
  table(): Table {
    return parseProcTable(this.tableText());
  }

  /** The text of /proc/net/ip_vs. */
  tableText(): string {
    return this.inside(() => Deno.readTextFileSync("/proc/thread-self/net/ip_vs"));
  }

  /** The table as ipvsadm has it. */
  async ipvsadmTable(): Promise<Table> {
    return parseIpvsadmTable(await this.ipvsadm(["-Ln", "--exact"]));
  }

  /**
   * Waits until the table fulfils `matches`, looking every few milliseconds.
   *
   * @throws {Error} with the last table and the logs of what runs here, after `timeoutMs`.
   */
  async waitFor(
    what: string,
    matches: (table: Table) => boolean,
    timeoutMs = 30_000,
  ): Promise<Table> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const table = this.table();
      if (matches(table)) return table;
      if (performance.now() > until) {
        const logs = [...this.world.processes].filter((each) => each.log !== "")
          .map((each) => `--- ${each.label}\n${each.log}`);
        throw new Error(
          [`not within ${timeoutMs} ms: ${what}`, this.tableText(), ...logs].join("\n"),
        );
      }
      await sleep(5);
    }
  }

  /** Starts watching this host's mDNS packets and its table, with exact times. */
  async watch(periodMicroseconds?: number): Promise<Witness> {
    const witness = await Witness.start(this.namespace.path, periodMicroseconds);
    this.world.defer(() => witness[Symbol.asyncDispose]());
    return witness;
  }

  /** Runs `klb ARGS` from the sources (or `KLB_BIN`) until it is ended. */
  klb(
    args: readonly string[],
    options: { env?: Readonly<Record<string, string>>; denoArgs?: readonly string[] } = {},
  ): LabProcess {
    const label = `klb ${args.join(" ")}`;
    const binary = Deno.env.get("KLB_BIN");
    if (binary) return this.spawn(binary, args, { label, ...pick(options.env) });
    const root = new URL("../../", import.meta.url).pathname;
    return this.spawn(
      Deno.execPath(),
      ["run", "-A", "--no-prompt", ...(options.denoArgs ?? []), `${root}main.ts`, ...args],
      { label, cwd: root, ...pick(options.env) },
    );
  }

  /** Writes a file that only this topology uses, such as a config; returns its path. */
  file(name: string, text: string): string {
    const path = `${this.world.directory}/${name}`;
    Deno.writeTextFileSync(path, text);
    return path;
  }
}

/** A server behind the director. */
export class Worker extends Host {
  /** Serves HTTP on both families: `/` answers the worker's name; see `thread_main.ts` for more. */
  serveHttp(port: number): Promise<Server> {
    return this.#serve("listenHttp", port);
  }

  /** Answers each UDP datagram with the worker's name, a space and the datagram. */
  serveUdpEcho(port: number): Promise<Server> {
    return this.#serve("listenUdp", port);
  }

  async #serve(operation: "listenHttp" | "listenUdp", port: number): Promise<Server> {
    const thread = await this.world.traffic();
    const server = await thread.call(operation, {
      namespace: this.namespace.path,
      name: this.name,
      port,
    });
    return new Server(thread, server);
  }
}

/** A running server of a {@link Worker}. */
export class Server {
  readonly #thread: TrafficThread;
  readonly #server: number;

  constructor(thread: TrafficThread, server: number) {
    this.#thread = thread;
    this.#server = server;
  }

  /** Requests (or datagrams) answered and connections seen so far. */
  stats(): Promise<ServerStats> {
    return this.#thread.call("stats", { server: this.#server });
  }

  /** Stops listening; connections that are open are finished first. */
  async close(): Promise<void> {
    await this.#thread.call("closeServer", { server: this.#server });
  }
}

/** Where the requests come from. */
export class Client extends Host {
  /** One GET on a fresh connection. Rejects when there is no answer. */
  async fetch(url: string, timeoutMs = 5000): Promise<HttpResult> {
    const [result] = await this.requests(url, 1, { timeoutMs });
    if (result!.error !== undefined) throw new Error(`${url}: ${result!.error}`);
    return result!;
  }

  /** `count` GETs, each on a fresh connection, one after the other (or `parallel` at a time). */
  async requests(
    url: string,
    count: number,
    options: { parallel?: number; timeoutMs?: number } = {},
  ): Promise<HttpResult[]> {
    const thread = await this.world.traffic();
    const { parallel = 1, timeoutMs = 5000 } = options;
    return await thread.call("requests", { url, count, parallel, timeoutMs });
  }

  /** How many of `count` requests each body answered; failures count as `error: ...`. */
  async tally(
    url: string,
    count: number,
    options: { parallel?: number; timeoutMs?: number } = {},
  ): Promise<Record<string, number>> {
    return tally(await this.requests(url, count, options));
  }

  /** `count` datagrams to `address`, each from a fresh port. */
  async datagrams(
    address: string,
    port: number,
    count: number,
    options: { payload?: string; timeoutMs?: number } = {},
  ): Promise<UdpResult[]> {
    const thread = await this.world.traffic();
    const { payload = "hello", timeoutMs = 2000 } = options;
    return await thread.call("datagrams", { address, port, payload, count, timeoutMs });
  }

  /** A connection that stays open, over which requests can go at any time. */
  async openLong(url: string, timeoutMs = 5000): Promise<LongConnection> {
    const thread = await this.world.traffic();
    return new LongConnection(thread, await thread.call("openLong", { url, timeoutMs }));
  }
}

/** A long-lived connection of the {@link Client}. */
export class LongConnection {
  readonly #thread: TrafficThread;
  readonly #connection: number;

  constructor(thread: TrafficThread, connection: number) {
    this.#thread = thread;
    this.#connection = connection;
  }

  /** Sends a request over it and reads the answer; a broken connection gives `error`. */
  exchange(options: { path?: string; timeoutMs?: number } = {}): Promise<HttpResult> {
    const { path = "/", timeoutMs = 5000 } = options;
    return this.#thread.call("exchange", { connection: this.#connection, path, timeoutMs });
  }

  /** Bytes still go both ways. */
  async alive(timeoutMs = 5000): Promise<boolean> {
    return (await this.exchange({ timeoutMs })).error === undefined;
  }

  /** Ends it with FIN, or with RST. */
  async close(how: "fin" | "reset" = "fin"): Promise<void> {
    await this.#thread.call("closeLong", {
      connection: this.#connection,
      reset: how === "reset",
    });
  }
}

/** How often each body came; failures count as `error: ...`. */
export function tally(results: readonly (HttpResult | UdpResult)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { body, error } of results) {
    const key = error === undefined ? body : `error: ${error}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

/** Network namespaces of topologies that still exist, by name. */
export function remainingNamespaces(): string[] {
  try {
    return [...Deno.readDirSync("/run/netns")].map((each) => each.name)
      .filter((name) => /^t\d+-/.test(name));
  } catch {
    return [];
  }
}

/**
 * Keeps the kernel from loading modules (schedulers, for one) by itself, until disposed. Only where the
 * lab has a kernel of its own; undefined elsewhere, and the test should be skipped.
 */
export function withoutModuleLoading(): Disposable | undefined {
  if (Deno.env.get("KLB_LAB_BACKEND") !== "uml") return undefined;
  const path = "/proc/sys/kernel/modprobe";
  const before = Deno.readTextFileSync(path).trim();
  Deno.writeTextFileSync(path, "/bin/false");
  return { [Symbol.dispose]: () => Deno.writeTextFileSync(path, before) };
}

/** Returns how many there were; a killed process may take a moment to be gone. */
function killInhabitants(identities: ReadonlySet<string>): number {
  let found = 0;
  for (const { name } of Deno.readDirSync("/proc")) {
    const pid = Number(name);
    if (!pid || pid === Deno.pid) continue;
    try {
      if (!identities.has(Deno.readLinkSync(`/proc/${pid}/ns/net`))) continue;
      found++;
      Deno.kill(pid, "SIGKILL");
    } catch {
      // Ended in between, or a zombie, which has no namespace any more.
    }
  }
  return found;
}

function quietIpv6(): void {
  // Addresses are usable at once, and nothing is sent but what tests send.
  for (const scope of ["all", "default"]) {
    sysctl(`net/ipv6/conf/${scope}/accept_dad`, "0");
    sysctl(`net/ipv6/conf/${scope}/accept_ra`, "0");
    sysctl(`net/ipv4/conf/${scope}/rp_filter`, "0");
  }
}

function sysctl(name: string, value: string): void {
  Deno.writeTextFileSync(`/proc/sys/${name}`, value);
}

function link(name: string, ipv4: string, ipv6: string): Link {
  return { name, index: newIndex(), ipv4: ip(ipv4), ipv6: ip(ipv6) };
}

function raise(net: RtNetlink, { index, ipv4, ipv6 }: Link): void {
  net.setLink(1, { up: true });
  net.setLink(index, { up: true });
  net.addAddress(index, { address: ipv4, length: 24 });
  net.addAddress(index, { address: ipv6, length: 64 });
}

function ip(text: string): Ip {
  const address = parseIp(text);
  if (!address) throw new RangeError(`not an IP address: ${text}`);
  return address;
}

function prefixed(text: string): Prefixed {
  const [address, length] = text.split("/");
  const parsed = ip(address!);
  return { address: parsed, length: length === undefined ? hostLength(parsed) : Number(length) };
}

function hostLength(address: Ip): number {
  return address.includes(":") ? 128 : 32;
}

function pick(
  env: Readonly<Record<string, string>> | undefined,
): { env?: Readonly<Record<string, string>> } {
  return env ? { env } : {};
}

function disposeAll(all: readonly Disposable[]): Disposable {
  return { [Symbol.dispose]: () => all.forEach((each) => each[Symbol.dispose]()) };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
