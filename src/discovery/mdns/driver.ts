/**
 * Gives the sans-IO browser its sockets, its clock and its view of the interfaces. [shell]
 *
 * @module
 */
import type { Family } from "../../model/address.ts";
import type { BrowseQuery, DiscoveryEvent } from "../../model/instance.ts";
import { type LinkInterface, MdnsBrowser } from "./browser.ts";
import { type MulticastSocket, openMulticastSocket, type SocketConfigurator } from "./sockets.ts";

/** An interface as the system reports it. */
export interface SystemInterface extends LinkInterface {
  readonly up: boolean;
  readonly running: boolean;
  readonly multicast: boolean;
  readonly loopback: boolean;
  readonly pointToPoint: boolean;
  /** Families it has an address of. */
  readonly families: ReadonlySet<Family>;
}

/**
 * Calls back after changes of interfaces, addresses or the wall clock, until disposed. A call says
 * that there may be something new, and may be one too many.
 *
 * @throws {Error} where the system tells no changes.
 */
export type SystemWatch = (onChange: () => void) => AsyncDisposable;

/** What the driver is handed. */
export interface DriverOptions {
  readonly queries: readonly BrowseQuery[];
  /** Families whose addresses matter. */
  readonly families: ReadonlySet<Family>;
  /** Milliseconds a record is believed at the most; Infinity lets the announcer's TTL decide. */
  readonly maxLifetime: number;
  readonly listInterfaces: () => readonly SystemInterface[];
  readonly watchSystem: SystemWatch;
  readonly configurator: SocketConfigurator;
  /** Called for each event, on the event loop. */
  readonly onEvent: (event: DiscoveryEvent) => void;
  /** Called with what a person should know: interfaces that come, go or are missing. */
  readonly onNotice: (level: "info" | "warning" | "debug", text: string) => void;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** Milliseconds: changes come in bunches, and one look is enough for a bunch. */
const bunchTime = 50;

/**
 * Milliseconds until something that failed is tried again without a change that would explain why it
 * should work now; doubled each time.
 */
const firstRetry = 1000;
const longestRetry = 60_000;

/**
 * Milliseconds by which the wall clock may run ahead of the monotonic one between two changes. More
 * means that this machine, perhaps a virtual one, was suspended: Linux stops the monotonic clock
 * then. A clock set by hand looks the same, and asking once too often does no harm.
 */
const clockTolerance = 5000;

/** setTimeout fires at once above 2^31-1. */
const longestTimer = 2 ** 31 - 1;

/** More records than any sane link announces, and 50 MB at the most. */
const maxRecords = 100_000;

interface OpenSocket {
  readonly link: LinkInterface;
  readonly family: Family;
  readonly socket: MulticastSocket;
}

/** See the module. */
export class MdnsDriver implements AsyncDisposable {
  readonly #options: DriverOptions;
  readonly #browser: MdnsBrowser;
  readonly #sockets = new Map<string, OpenSocket>();
  /** Interfaces the browser believes to be there. */
  readonly #present = new Set<number>();
  /** Interfaces with a socket that nothing was asked through yet. */
  readonly #gained = new Set<number>();
  readonly #complaints = new Map<string, string>();
  readonly #missing = new Set<string>();
  #watch: AsyncDisposable | undefined;
  #scanTimer: ReturnType<typeof setTimeout> | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #retry = firstRetry;
  #browserTimer: ReturnType<typeof setTimeout> | undefined;
  #browserTimerAt = Infinity;
  /** The last look at the interfaces; the next one waits for it. */
  #scan: Promise<void> = Promise.resolve();
  /** Wall clock minus monotonic clock, in milliseconds. */
  #clockOffset = Infinity;
  #closed = false;

  private constructor(options: DriverOptions) {
    this.#options = options;
    this.#browser = new MdnsBrowser({
      random: Math.random,
      families: options.families,
      maxLifetime: options.maxLifetime,
      maxRecords,
    });
  }

  /** Opens sockets on every suitable interface and starts to browse. */
  static async start(options: DriverOptions): Promise<MdnsDriver> {
    const driver = new MdnsDriver(options);
    const now = options.now();
    for (const query of options.queries) driver.#browser.browse(query, now);
    // Before the first look, so that nothing changes unseen in between.
    driver.#watch = options.watchSystem(() => driver.#systemChanged());
    await driver.#scanInterfaces();
    return driver;
  }

  /** Browses one more query, on the interfaces that are open. */
  browse(query: BrowseQuery): void {
    this.#browser.browse(query, this.#options.now());
    this.#pump();
  }

  /** See {@link MdnsBrowser.timeLeft}. */
  timeLeft(name: string, interfaceIndex: number): number {
    return this.#browser.timeLeft(name, interfaceIndex, this.#options.now());
  }

  /** Closes every socket; tells nothing more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#watch?.[Symbol.asyncDispose]();
    clearTimeout(this.#scanTimer);
    clearTimeout(this.#browserTimer);
    await this.#scan;
    clearTimeout(this.#retryTimer);
    for (const { socket } of this.#sockets.values()) socket[Symbol.dispose]();
    this.#sockets.clear();
  }

  // --- the browser's clock and wires

  #pump(): void {
    if (this.#closed) return;
    const now = this.#options.now();
    if (this.#browser.nextDeadline() <= now) this.#browser.handleTimeout(now);
    for (let packet; (packet = this.#browser.pollTransmit());) {
      for (const { link, socket } of this.#sockets.values()) {
        if (link.index === packet.interfaceIndex) socket.send(packet.bytes);
      }
    }
    for (let event; (event = this.#browser.pollEvent());) this.#options.onEvent(event);
    this.#armBrowserTimer();
  }

  #armBrowserTimer(): void {
    const at = this.#browser.nextDeadline();
    if (at === this.#browserTimerAt) return;
    clearTimeout(this.#browserTimer);
    this.#browserTimerAt = at;
    if (at === Infinity) return;
    const delay = Math.min(Math.max(0, Math.ceil(at - this.#options.now())), longestTimer);
    this.#browserTimer = setTimeout(() => {
      this.#browserTimerAt = Infinity;
      this.#pump();
    }, delay);
  }

  // --- interfaces

  #systemChanged(): void {
    if (this.#closed) return;
    this.#scanTimer ??= setTimeout(() => {
      this.#scanTimer = undefined;
      this.#retry = firstRetry;
      this.#scanInterfaces();
    }, bunchTime);
  }

  #scanInterfaces(): Promise<void> {
    return this.#scan = this.#scan.then(async () => {
      if (this.#closed) return;
      clearTimeout(this.#retryTimer);
      const complete = await this.#followInterfaces();
      if (complete || this.#closed) return;
      this.#retryTimer = setTimeout(() => this.#scanInterfaces(), this.#retry);
      this.#retry = Math.min(2 * this.#retry, longestRetry);
    });
  }

  /** Makes the sockets fit the interfaces; false when one could not be opened. */
  async #followInterfaces(): Promise<boolean> {
    let interfaces: readonly SystemInterface[];
    try {
      interfaces = this.#options.listInterfaces();
    } catch (error) {
      this.#complain("interfaces", (error as Error).message);
      return false;
    }
    this.#warnOfMissing(interfaces);
    const wanted = new Map<string, { link: LinkInterface; family: Family }>();
    for (const candidate of interfaces) {
      if (!this.#isWanted(candidate)) continue;
      for (const family of candidate.families) {
        wanted.set(`${candidate.index} ${family}`, { link: candidate, family });
      }
    }
    for (const [key, { link, family, socket }] of this.#sockets) {
      if (wanted.get(key)?.link.name === link.name) continue;
      socket[Symbol.dispose]();
      this.#sockets.delete(key);
      this.#options.onNotice("info", `no longer browsing on ${link.name} over ${family}`);
    }
    for (const [key, { link, family }] of wanted) {
      if (!this.#sockets.has(key)) await this.#open(key, link, family);
      if (this.#closed) return false;
    }
    this.#tellBrowser();
    this.#watchClock();
    this.#pump();
    return this.#sockets.size === wanted.size;
  }

  #watchClock(): void {
    const now = this.#options.now();
    const offset = Date.now() - now;
    if (offset - this.#clockOffset > clockTolerance) {
      this.#options.onNotice("info", "the clock has jumped; asking for everything again");
      this.#browser.reconfirmAll(now);
    }
    this.#clockOffset = offset;
  }

  async #open(key: string, link: LinkInterface, family: Family): Promise<void> {
    try {
      const socket = await openMulticastSocket(family, link, this.#options.configurator, {
        onPacket: (bytes, sourcePort) => {
          if (this.#closed) return;
          const now = this.#options.now();
          this.#browser.handlePacket({ interfaceIndex: link.index, sourcePort, bytes }, now);
          this.#pump();
        },
        onError: (error) => this.#complain(key, `mDNS on ${link.name}: ${error.message}`),
      });
      if (this.#closed) return socket[Symbol.dispose]();
      this.#sockets.set(key, { link, family, socket });
      this.#gained.add(link.index);
      this.#complaints.delete(key);
      this.#options.onNotice("info", `browsing on ${link.name} over ${family}`);
    } catch (error) {
      const { message } = error as Error;
      this.#complain(key, `cannot browse on ${link.name} over ${family}: ${message}`);
    }
  }

  /** Sockets decide what is there: an interface on which none can be opened is as good as gone. */
  #tellBrowser(): void {
    const now = this.#options.now();
    const open = new Map([...this.#sockets.values()].map(({ link }) => [link.index, link]));
    for (const index of this.#present) {
      if (open.has(index)) continue;
      this.#present.delete(index);
      this.#browser.interfaceDown(index, now);
    }
    for (const [index, { name }] of open) {
      if (!this.#gained.has(index)) continue;
      this.#present.add(index);
      this.#browser.interfaceUp({ index, name }, now);
    }
    this.#gained.clear();
  }

  /**
   * A configured interface only has to be up; with none configured, every one that is made for
   * multicast and has a carrier is used, so that the many of a container host stay out.
   */
  #isWanted(candidate: SystemInterface): boolean {
    if (!candidate.up || !candidate.running) return false;
    return this.#options.queries.some(({ interfaceName }) =>
      interfaceName === candidate.name ||
      (interfaceName === "" && candidate.multicast && !candidate.loopback &&
        !candidate.pointToPoint)
    );
  }

  #warnOfMissing(interfaces: readonly SystemInterface[]): void {
    for (const { interfaceName } of this.#options.queries) {
      if (interfaceName === "") continue;
      const found = interfaces.some(({ name, up, running, families }) =>
        name === interfaceName && up && running && families.size > 0
      );
      if (found) {
        if (!this.#missing.delete(interfaceName)) continue;
        this.#options.onNotice("info", `interface ${interfaceName} is there now`);
      } else if (!this.#missing.has(interfaceName)) {
        this.#missing.add(interfaceName);
        this.#options.onNotice("warning", this.#describeMissing(interfaceName, interfaces));
      }
    }
  }

  #describeMissing(interfaceName: string, interfaces: readonly SystemInterface[]): string {
    const present = interfaces.find(({ name }) => name === interfaceName);
    const others = interfaces.filter(({ loopback }) => !loopback).map(({ name }) => name);
    const why = !present
      ? `does not exist (there are: ${others.join(", ") || "none"})`
      : !present.up
      ? `is down (bring it up with "ip link set ${interfaceName} up")`
      : !present.running
      ? "has no carrier"
      : "has no address";
    return `interface ${interfaceName} ${why}; waiting for it`;
  }

  /** Says a thing once until it changes. */
  #complain(about: string, text: string): void {
    const level = this.#complaints.get(about) === text ? "debug" : "warning";
    this.#complaints.set(about, text);
    this.#options.onNotice(level, text);
  }
}
