/**
 * Gives the sans-IO unicast browser its sockets, its clock and its resolvers. [shell]
 *
 * @module
 */
import type { Family } from "../../model/address.ts";
import type { DiscoveryEvent, DiscoveryQuery } from "../../model/instance.ts";
import { formatNameserver, type Nameserver } from "../../model/nameserver.ts";
import { DnsBrowser } from "./browser.ts";
import { parseResolvConf, type ResolverSettings, resolverSettings } from "./resolv_conf.ts";
import type { DnsTransmit } from "./resolver.ts";
import { type QueryEvents, queryOverTcp, queryOverUdp, type QuerySocket } from "./sockets.ts";

/** What the driver is handed. */
export interface DnsDriverOptions {
  readonly queries: readonly DiscoveryQuery[];
  readonly families: ReadonlySet<Family>;
  /** Whom to ask; empty: those of {@link resolvConf}. */
  readonly resolvers: readonly Nameserver[];
  /** Called for each event, on the event loop. */
  readonly onEvent: (event: DiscoveryEvent) => void;
  /** Called with what a person should know. */
  readonly onNotice: (level: "info" | "warning" | "debug", text: string) => void;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** Names the resolvers of this machine (resolv.conf(5)). */
export const resolvConf = "/etc/resolv.conf";

/** The file is looked at when something is asked, but not more often than this (milliseconds). */
const resolvConfInterval = 1000;

/** setTimeout fires at once above 2^31-1. */
const longestTimer = 2 ** 31 - 1;

/** See the module. */
export class DnsDriver implements AsyncDisposable {
  readonly #options: DnsDriverOptions;
  readonly #browser: DnsBrowser;
  /** By the number of the exchange. */
  readonly #sockets = new Map<number, QuerySocket>();
  /** Closed, and not yet gone. */
  readonly #closing = new Set<Promise<void>>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Infinity;
  /** What tells one state of resolv.conf from the next. */
  #fileState = "";
  #fileCheckedAt = -Infinity;
  #closed = false;

  private constructor(options: DnsDriverOptions) {
    this.#options = options;
    this.#browser = new DnsBrowser({
      settings: resolverSettings(options.resolvers),
      random: drawUnguessable,
      families: options.families,
    });
  }

  /** Starts to browse. */
  static start(options: DnsDriverOptions): DnsDriver {
    const driver = new DnsDriver(options);
    const now = options.now();
    if (options.resolvers.length > 0) driver.#tellServers(resolverSettings(options.resolvers), "");
    else driver.#followFile(now);
    for (const query of options.queries) {
      try {
        driver.#browser.browse(query, now);
      } catch (error) {
        // A config in the old syntax may have any text for a domain.
        if (!(error instanceof RangeError)) throw error;
        options.onNotice("warning", `nothing will be found: ${error.message}`);
      }
    }
    driver.#pump();
    return driver;
  }

  /** Closes every socket; tells nothing more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const number of [...this.#sockets.keys()]) this.#close(number);
    await Promise.all(this.#closing);
  }

  // --- the browser's clock and wires

  #pump(): void {
    if (this.#closed) return;
    const now = this.#options.now();
    while (this.#browser.nextDeadline() <= now) {
      this.#followFile(now);
      this.#browser.handleTimeout(now);
    }
    for (let number; (number = this.#browser.pollClosed()) !== undefined;) this.#close(number);
    for (let transmit; (transmit = this.#browser.pollTransmit());) this.#open(transmit);
    for (let event; (event = this.#browser.pollEvent());) this.#options.onEvent(event);
    for (let notice; (notice = this.#browser.pollNotice());) {
      this.#options.onNotice(notice.level, notice.text);
    }
    this.#armTimer();
  }

  #armTimer(): void {
    const at = this.#browser.nextDeadline();
    if (at === this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    if (at === Infinity) return;
    const delay = Math.min(Math.max(0, Math.ceil(at - this.#options.now())), longestTimer);
    this.#timer = setTimeout(() => {
      this.#timerAt = Infinity;
      this.#pump();
    }, delay);
  }

  // --- sockets

  #open({ exchange, protocol, server, bytes }: DnsTransmit): void {
    const events: QueryEvents = {
      onResponse: (source, bytes) => {
        this.#browser.handleResponse({ exchange, source, bytes }, this.#options.now());
        this.#pump();
      },
      onFailure: (why) => {
        this.#browser.handleFailure(exchange, why, this.#options.now());
        this.#pump();
      },
    };
    const query = protocol === "udp" ? queryOverUdp : queryOverTcp;
    this.#sockets.set(exchange, query(server, bytes, events));
  }

  #close(exchange: number): void {
    const socket = this.#sockets.get(exchange);
    if (!socket) return;
    this.#sockets.delete(exchange);
    const gone = socket[Symbol.asyncDispose]().finally(() => this.#closing.delete(gone));
    this.#closing.add(gone);
  }

  // --- resolvers

  /**
   * Looks at resolv.conf where no resolver is configured, as the C library does whenever it asks:
   * that needs no timer, and no notification that a file behind links would not give.
   */
  #followFile(now: number): void {
    if (this.#options.resolvers.length > 0 || now - this.#fileCheckedAt < resolvConfInterval) {
      return;
    }
    this.#fileCheckedAt = now;
    try {
      const { mtime, ino, size } = Deno.statSync(resolvConf);
      const state = `${mtime?.getTime()} ${ino} ${size}`;
      if (state === this.#fileState) return;
      const settings = parseResolvConf(Deno.readTextFileSync(resolvConf));
      this.#fileState = state;
      this.#browser.configure(settings, now);
      this.#tellServers(settings, ` of ${resolvConf}`);
    } catch (error) {
      const state = (error as Error).message;
      if (state === this.#fileState) return;
      this.#fileState = state;
      this.#options.onNotice("warning", `${resolvConf}: ${state}; going on as before`);
    }
  }

  #tellServers({ servers }: ResolverSettings, origin: string): void {
    const list = servers.map(formatNameserver).join(", ");
    this.#options.onNotice(
      "info",
      `asking the DNS server${servers.length > 1 ? "s" : ""} ${list}${origin}`,
    );
  }
}

/** Uniform in [0, 1), from the kernel's source: whoever guesses an id can forge an answer. */
function drawUnguessable(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}
