/**
 * The loop: discovery's events and the kernel's state in, steps out. The sole writer to the
 * kernel. [shell]
 *
 * It acts on levels, not edges: the kernel's table is read at the start and again every
 * {@link resyncInterval}; between two reads its own successful steps keep the picture current.
 *
 * @module
 */
import type { Config, ServiceConfig } from "./config/schema.ts";
import { countEnded } from "./ipvs/connections.ts";
import { type Family, familyOf } from "./model/address.ts";
import {
  destinationKey,
  type DestinationState,
  sameDestination,
  sameService,
  serviceFamily,
  serviceKey,
  type VirtualService,
  type VirtualServiceId,
  type VirtualServiceState,
} from "./model/ipvs.ts";
import {
  type DiscoveryEvent,
  type DiscoveryQuery,
  isLocalDomain,
  queryKey,
} from "./model/instance.ts";
import { type Step, stepObject } from "./model/step.ts";
import { applySteps } from "./plan/apply.ts";
import {
  type DesiredService,
  desiredService,
  desiredVirtualService,
  type VirtualServiceSettings,
} from "./plan/desired.ts";
import { type Drains, planService } from "./plan/diff.ts";
import { Pool } from "./pool/pool.ts";
import type { Log } from "./log.ts";

/** The kernel's table, as `ipvs/client.ts` gives it. */
export interface IpvsTable {
  /** The whole table by service key. */
  read(): Promise<Map<string, VirtualServiceState>>;
  /** The destinations of one virtual service, with fresh counters. */
  readDestinations(id: VirtualServiceId): Promise<Map<string, DestinationState>>;
  /** Does every step it can and returns those that failed. */
  apply(steps: readonly Step[]): Promise<readonly { readonly step: Step; readonly error: Error }[]>;
}

/** What the daemon is handed. */
export interface DaemonOptions {
  readonly config: Config;
  readonly ipvs: IpvsTable;
  /** The text of `/proc/net/ip_vs_conn`. */
  readonly readConnections: () => Promise<string>;
  /** Starts discovery; it ends when what is returned is disposed. */
  readonly startDiscovery: (
    queries: readonly DiscoveryQuery[],
    families: ReadonlySet<Family>,
    onEvent: (event: DiscoveryEvent) => void,
  ) => Promise<AsyncDisposable>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Ends the daemon; the kernel's table stays as it is. */
  readonly signal: AbortSignal;
  /** Called once, when the virtual services are in the kernel. */
  readonly onReady: () => void;
  /** Called with one line whenever the picture changes. */
  readonly onStatus: (text: string) => void;
  readonly log: Log;
}

/** How often the kernel's table is read to find what others changed, in milliseconds. */
export const resyncInterval = 5000;

/**
 * The kernel walks its whole connection table to list it; with more connections than this it is
 * left alone, and a draining destination waits until the kernel has forgotten the last one.
 */
const listableConnections = 50_000;

/** The first retry after a failed step; each later one doubles up to {@link resyncInterval}. */
const firstRetry = 100;

/** The daemon cannot begin. Why, and what would help, is in the log by then. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** What a configured service asks discovery for; undefined where its members are not discovered. */
export function discoveryQueryOf(config: ServiceConfig): DiscoveryQuery | undefined {
  if (config.dnsSrv !== "") return { srvName: config.dnsSrv };
  if (config.zeroconfService === "") return undefined;
  const domain = config.zeroconfDomain.replace(/\.$/, "").toLowerCase() || "local";
  return {
    serviceType: config.zeroconfService,
    domain,
    interfaceName: isLocalDomain(domain) ? config.zeroconfInterface : "",
  };
}

/** Runs until the signal is aborted. @throws {StartError} when not one service could be set up. */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  await using daemon = new Daemon(options);
  await daemon.run();
}

/** One virtual service and all that is known of it. */
class ServiceRuntime {
  readonly config: ServiceConfig;
  readonly settings: VirtualServiceSettings;
  readonly service: VirtualService;
  readonly key: string;
  readonly pool: Pool;
  drains: Drains = new Map();
  readAt = -Infinity;
  recheckAt = Infinity;
  /** Connections that have ended, by destination, where somebody looked. */
  ended: ReadonlyMap<string, number> = new Map();
  #desired: DesiredService | undefined;

  constructor(config: ServiceConfig, settings: VirtualServiceSettings, pool: Pool) {
    this.config = config;
    this.settings = settings;
    this.service = desiredVirtualService(settings);
    this.key = serviceKey(this.service.id);
    this.pool = pool;
  }

  get desired(): DesiredService {
    this.#desired ??= desiredService(this.settings, this.pool, this.config.drainTimeout);
    return this.#desired;
  }

  poolChanged(): void {
    this.#desired = undefined;
  }
}

class Daemon implements AsyncDisposable {
  readonly #options: DaemonOptions;
  readonly #log: Log;
  readonly #services: ServiceRuntime[] = [];
  /** Pools, and the services they fill, by query key. */
  readonly #fed = new Map<string, { pool: Pool; services: ServiceRuntime[] }[]>();
  readonly #queries = new Map<string, DiscoveryQuery>();
  /** Services whose pool changed since they were last planned. */
  readonly #dirty = new Set<ServiceRuntime>();
  /** Services whose kernel state was read since they were last planned -> our picture before. */
  readonly #reread = new Map<ServiceRuntime, VirtualServiceState | undefined>();
  #table = new Map<string, VirtualServiceState>();
  #resyncAt = -Infinity;
  #retry = firstRetry;
  /** Failures already told, so that a lasting one is one line and not one a retry. */
  #failures = new Map<string, string>();
  #status = "";
  #discovery: Promise<AsyncDisposable> | undefined;
  readonly #wake = new Wake();

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#log = options.log;
    for (const config of options.config.services) this.#addService(config);
  }

  async run(): Promise<void> {
    const { signal, log } = this.#options;
    const families = new Set(this.#services.map(({ service }) => serviceFamily(service.id)));
    signal.addEventListener("abort", () => this.#wake.call(), { once: true });
    // Discovery's first questions travel while the table is read and the services are set up.
    this.#discovery = this.#options.startDiscovery(
      [...this.#queries.values()],
      families,
      (event) => this.#handleEvent(event),
    );
    // If the kernel fails first, its error is the one to report.
    this.#discovery.catch(() => {});
    await this.#resync();
    this.#tellAdoption();
    await this.#pass(false);
    await this.#discovery;
    const missing = this.#services.filter(({ key }) => !this.#table.has(key));
    if (missing.length === this.#services.length) {
      throw new StartError("not one virtual service could be set up");
    }
    this.#options.onReady();
    while (!signal.aborted) {
      await this.#wake.wait(this.#nextDeadline() - this.#options.now());
      if (signal.aborted) break;
      await this.#step();
    }
    log.info("stopping; the kernel keeps the virtual services and their destinations");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const discovery = await this.#discovery?.catch(() => undefined);
    await discovery?.[Symbol.asyncDispose]();
  }

  #addService(config: ServiceConfig): void {
    const pools = new Map<Family, { pool: Pool; services: ServiceRuntime[] }>();
    for (const bind of config.bind) {
      const family = familyOf(bind.address);
      let fed = pools.get(family);
      if (!fed) pools.set(family, fed = { pool: new Pool(family), services: [] });
      const runtime = new ServiceRuntime(config, { bind, scheduler: config.scheduler }, fed.pool);
      fed.services.push(runtime);
      this.#services.push(runtime);
      this.#dirty.add(runtime);
    }
    const query = discoveryQueryOf(config);
    if (!query) return;
    const key = queryKey(query);
    this.#queries.set(key, query);
    this.#fed.set(key, [...this.#fed.get(key) ?? [], ...pools.values()]);
  }

  #handleEvent(event: DiscoveryEvent): void {
    for (const { pool, services } of this.#fed.get(event.query) ?? []) {
      if (!pool.handle(event)) continue;
      for (const service of services) {
        service.poolChanged();
        this.#dirty.add(service);
      }
      this.#wake.call();
    }
  }

  #nextDeadline(): number {
    let next = this.#resyncAt;
    for (const { recheckAt } of this.#services) next = Math.min(next, recheckAt);
    return next;
  }

  /** One turn of the loop. An error of the kernel is told and retried, never fatal. */
  async #step(): Promise<void> {
    const now = this.#options.now();
    try {
      // What discovery has told does not wait for a reading.
      if (this.#dirty.size > 0) await this.#pass(true);
      if (now >= this.#resyncAt) await this.#resync();
      else await this.#readDraining(now);
      if (this.#reread.size === 0) return;
      await this.#lookForEnded();
      await this.#pass(true);
    } catch (error) {
      this.#tellFailure("reading the kernel's table", (error as Error).message);
      this.#retryLater();
    }
  }

  // --- reading

  async #resync(): Promise<void> {
    const before = this.#table;
    this.#table = await this.#options.ipvs.read();
    const now = this.#options.now();
    for (const service of this.#services) {
      service.readAt = now;
      this.#reread.set(service, before.get(service.key));
    }
    this.#resyncAt = now + resyncInterval;
  }

  /** Reads the connection counters of services with a draining destination, where it is time. */
  async #readDraining(now: number): Promise<void> {
    for (const service of this.#services) {
      if (service.recheckAt > now) continue;
      const state = this.#table.get(service.key);
      if (!state) continue;
      const destinations = await this.#options.ipvs.readDestinations(service.service.id);
      this.#table.set(service.key, { service: state.service, destinations });
      service.readAt = this.#options.now();
      this.#reread.set(service, state);
    }
  }

  /** Finds out whether the inactive connections of draining destinations have really ended. */
  async #lookForEnded(): Promise<void> {
    const wanted = new Set<string>();
    const draining: { service: ServiceRuntime; destination: string; object: string }[] = [];
    for (const service of this.#reread.keys()) {
      service.ended = new Map();
      for (const destination of service.drains.keys()) {
        const counters = this.#table.get(service.key)?.destinations.get(destination)?.counters;
        if (!counters || counters.activeConnections > 0 || counters.inactiveConnections === 0) {
          continue;
        }
        const object = `${service.key} -> ${destination}`;
        wanted.add(object);
        draining.push({ service, destination, object });
      }
    }
    if (wanted.size === 0 || this.#countConnections() > listableConnections) return;
    const counts = countEnded(await this.#options.readConnections(), wanted);
    for (const { service, destination, object } of draining) {
      const ended = counts.get(object);
      if (ended) service.ended = new Map([...service.ended, [destination, ended]]);
    }
  }

  #countConnections(): number {
    let connections = 0;
    for (const { destinations } of this.#table.values()) {
      for (const { counters } of destinations.values()) {
        connections += counters.activeConnections + counters.inactiveConnections;
      }
    }
    return connections;
  }

  // --- writing

  /** Plans every service that may need it and does the steps, all in one go. */
  async #pass(running: boolean): Promise<void> {
    const now = this.#options.now();
    const planned: { step: Step; service: ServiceRuntime; repair: boolean }[] = [];
    for (const service of new Set([...this.#dirty, ...this.#reread.keys()])) {
      const actual = this.#table.get(service.key);
      const before = running && this.#reread.has(service) ? this.#reread.get(service) : actual;
      const observation = {
        actual,
        readAt: service.readAt,
        drains: service.drains,
        ended: service.ended,
      };
      const plan = planService(service.desired, observation, now);
      service.drains = plan.drains;
      service.recheckAt = plan.recheckAt;
      for (const step of plan.steps) {
        planned.push({ step, service, repair: wasChanged(step, before, actual) });
      }
    }
    this.#dirty.clear();
    this.#reread.clear();
    if (planned.length === 0) {
      this.#settleFailures(new Map());
      return;
    }
    const failures = await this.#options.ipvs.apply(planned.map(({ step }) => step));
    const failed = new Set(failures.map(({ step }) => step));
    const done = planned.filter(({ step }) => !failed.has(step));
    applySteps(this.#table, done.map(({ step }) => step));
    for (const { step, service, repair } of done) {
      const line = `${service.config.name}: ${describeStep(step)}`;
      if (repair) this.#log.warning(`${line} (changed behind klb's back)`);
      else this.#log.info(line);
      if (step.op === "delete-destination") {
        service.pool.forgetDeparture(destinationKey(step.destination));
      }
    }
    const told = new Map<string, string>();
    for (const { step, error } of failures) {
      told.set(`${step.op} ${stepObject(step)}`, error.message);
    }
    this.#settleFailures(told);
    this.#tellStatus();
  }

  /** Tells new failures, forgets past ones, and decides when to try again. */
  #settleFailures(failures: ReadonlyMap<string, string>): void {
    for (const about of [...this.#failures.keys()]) {
      if (!failures.has(about)) this.#failures.delete(about);
    }
    for (const [about, text] of failures) this.#tellFailure(about, text);
    if (failures.size > 0) this.#retryLater();
    else this.#retry = firstRetry;
  }

  #retryLater(): void {
    this.#resyncAt = this.#options.now() + this.#retry;
    this.#retry = Math.min(this.#retry * 2, resyncInterval);
  }

  // --- telling

  #tellFailure(about: string, text: string): void {
    if (this.#failures.get(about) === text) return this.#log.debug(`again: ${text}`);
    this.#failures.set(about, text);
    this.#log.error(text);
  }

  #tellAdoption(): void {
    const ours = new Map(this.#services.map((service) => [service.key, service]));
    let others = 0;
    for (const [key, { destinations }] of this.#table) {
      const service = ours.get(key);
      if (!service) {
        others++;
        continue;
      }
      const count = destinations.size;
      this.#log.info(
        `${service.config.name}: adopting ${key} with ${count} ${plural(count, "destination")}; ` +
          `those nobody announces stay until discovery has settled`,
      );
    }
    if (others > 0) {
      const what = `${others} virtual ${plural(others, "service")}`;
      this.#log.info(`leaving alone ${what} that the config does not name`);
    }
  }

  #tellStatus(): void {
    let destinations = 0;
    let draining = 0;
    for (const { key, drains } of this.#services) {
      destinations += this.#table.get(key)?.destinations.size ?? 0;
      draining += drains.size;
    }
    const count = this.#services.length;
    const status = `${count} virtual ${plural(count, "service")}, ` +
      `${destinations} ${plural(destinations, "destination")}` +
      (draining > 0 ? `, ${draining} draining` : "") +
      (this.#failures.size > 0 ? `, ${this.#failures.size} failing` : "");
    if (status === this.#status) return;
    this.#status = status;
    this.#options.onStatus(status);
  }
}

/** True when what a step is about is not as we left it: somebody else was at work. */
function wasChanged(
  step: Step,
  before: VirtualServiceState | undefined,
  actual: VirtualServiceState | undefined,
): boolean {
  if (before === actual) return false;
  if (!("destination" in step)) {
    return !before || !actual || !sameService(before.service, actual.service);
  }
  const key = destinationKey(step.destination);
  const left = before?.destinations.get(key)?.destination;
  const met = actual?.destinations.get(key)?.destination;
  return left && met ? !sameDestination(left, met) : left !== met;
}

function plural(count: number, word: string): string {
  return count === 1 ? word : `${word}s`;
}

/** What was done, to what, and why. */
function describeStep(step: Step): string {
  const object = stepObject(step);
  const because = `: ${step.reason}`;
  switch (step.op) {
    case "add-service":
      return `added ${object} with scheduler ${step.service.scheduler}${because}`;
    case "edit-service":
      return `changed ${object}${because}`;
    case "delete-service":
      return `deleted ${object}${because}`;
    case "add-destination":
      return `added ${object} with weight ${step.destination.weight}${because}`;
    case "edit-destination":
      return step.destination.weight === 0
        ? `quiesced ${object}${because}`
        : `set ${object} to weight ${step.destination.weight}${because}`;
    case "delete-destination":
      return `deleted ${object}${because}`;
  }
}

/** Lets the loop sleep until somebody calls or time is up. A call while it works is not lost. */
class Wake {
  #called = false;
  #resume: (() => void) | undefined;

  call(): void {
    this.#called = true;
    this.#resume?.();
  }

  async wait(milliseconds: number): Promise<void> {
    if (!this.#called && milliseconds > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, Math.min(Math.ceil(milliseconds), 2 ** 31 - 1));
      this.#resume = resolve;
      await promise;
      this.#resume = undefined;
      clearTimeout(timer);
    }
    this.#called = false;
  }
}
