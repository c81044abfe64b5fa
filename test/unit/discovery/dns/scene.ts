/**
 * A unicast browser among fake servers, in virtual time.
 *
 * @module
 */
import { DnsBrowser } from "../../../../src/discovery/dns/browser.ts";
import { resolverSettings } from "../../../../src/discovery/dns/resolv_conf.ts";
import type { DnsNotice, DnsTransmit } from "../../../../src/discovery/dns/resolver.ts";
import type { Family } from "../../../../src/model/address.ts";
import type { DiscoveryEvent, DiscoveryQuery } from "../../../../src/model/instance.ts";
import { parseNameserver } from "../../../../src/model/nameserver.ts";
import { FakeDnsServer } from "../../../fakes/dns_server.ts";
import { seededRandom } from "../../../fakes/random.ts";

/** What is browsed in most tests. */
export const fooQuery: DiscoveryQuery = {
  serviceType: "_foo._tcp",
  domain: "example.org",
  interfaceName: "",
};

/** See the module. */
export class DnsScene {
  now = 0;
  readonly servers: ReadonlyMap<string, FakeDnsServer>;
  readonly browser: DnsBrowser;
  readonly events: DiscoveryEvent[] = [];
  readonly notices: DnsNotice[] = [];
  /** Every query that left: `1000 192.0.2.1 udp`. */
  readonly sent: string[] = [];
  /** Sockets a driver would have open. */
  readonly open = new Set<number>();
  /** Milliseconds an answer is under way. */
  delay = 1;
  #answers: { at: number; transmit: DnsTransmit; bytes: Uint8Array }[] = [];

  constructor(
    { servers = ["192.0.2.1"], families = ["ipv4"], seed = 1 }: {
      servers?: readonly string[];
      families?: readonly Family[];
      seed?: number;
    } = {},
  ) {
    this.servers = new Map(servers.map((server) => [server, new FakeDnsServer()]));
    this.browser = new DnsBrowser({
      settings: resolverSettings(servers.map((server) => parseNameserver(server)!)),
      random: seededRandom(seed),
      families: new Set(families),
    });
  }

  /** The first server. */
  get server(): FakeDnsServer {
    return this.servers.values().next().value!;
  }

  /** Lets time pass, in milliseconds. */
  run(duration: number): void {
    const end = this.now + duration;
    for (;;) {
      this.#exchange();
      const next = Math.min(this.browser.nextDeadline(), ...this.#answers.map(({ at }) => at));
      if (next > end) break;
      this.now = Math.max(this.now, next);
      if (this.browser.nextDeadline() <= this.now) this.browser.handleTimeout(this.now);
      const due = this.#answers.filter(({ at }) => at <= this.now);
      this.#answers = this.#answers.filter(({ at }) => at > this.now);
      for (const { transmit: { exchange, server }, bytes } of due) {
        if (!this.open.has(exchange)) continue;
        this.browser.handleResponse({ exchange, source: server, bytes }, this.now);
        this.#exchange();
      }
    }
    this.now = end;
  }

  /** Events since the last call, short: `found web 192.0.2.11:80`, `lost web withdrawn`. */
  told(): string[] {
    return this.events.splice(0).map((event) => {
      switch (event.type) {
        case "found": {
          const { label, targets } = event.instance;
          const all = targets.map(({ addresses, port }) => `${addresses.join(",")}:${port}`);
          return `found ${label} ${all.join(" ")}`;
        }
        case "lost":
          return `lost ${event.name.replace("._foo._tcp.example.org", "")} ${event.cause}`;
        default:
          return event.type;
      }
    });
  }

  /** Questions all servers got since the last call. */
  asked(): string[] {
    return [...this.servers.values()].flatMap(({ asked }) => asked.splice(0));
  }

  #exchange(): void {
    for (let closed; (closed = this.browser.pollClosed()) !== undefined;) this.open.delete(closed);
    for (let transmit; (transmit = this.browser.pollTransmit());) {
      const { address, port } = transmit.server;
      const name = port === 53 ? address : `${address}:${port}`;
      this.open.add(transmit.exchange);
      this.sent.push(`${Math.round(this.now)} ${name} ${transmit.protocol}`);
      const bytes = this.servers.get(name)?.answer(transmit.bytes, transmit.protocol);
      if (bytes) this.#answers.push({ at: this.now + this.delay, transmit, bytes });
    }
    for (let event; (event = this.browser.pollEvent());) this.events.push(event);
    for (let notice; (notice = this.browser.pollNotice());) this.notices.push(notice);
  }
}
