/**
 * A browser, a clock that obeys, and a record of what happened.
 *
 * @module
 */
import type {
  BrowseQuery,
  DiscoveryEvent,
  ServiceInstance,
} from "../../../../src/model/instance.ts";
import {
  decodeMessage,
  type Message,
  type ResourceRecord,
} from "../../../../src/discovery/dns/message.ts";
import { type BrowserOptions, MdnsBrowser } from "../../../../src/discovery/mdns/browser.ts";
import { response } from "../../../fakes/records.ts";
import { assert } from "../../../testing.ts";

/** The type browsed in most tests, and its name. */
export const foo = "_foo._tcp.local";
export const fooQuery: BrowseQuery = {
  serviceType: "_foo._tcp",
  domain: "local",
  interfaceName: "",
};

/** A packet that was sent. */
export interface Sent {
  readonly at: number;
  readonly interfaceIndex: number;
  readonly bytes: Uint8Array;
  readonly message: Message;
}

export class Scene {
  now = 0;
  readonly browser: MdnsBrowser;
  readonly sent: Sent[] = [];
  /** Everything told, with its time; {@link take} empties it. */
  events: { readonly at: number; readonly event: DiscoveryEvent }[] = [];

  constructor(options: Partial<BrowserOptions> = {}) {
    this.browser = new MdnsBrowser({
      random: () => 0.5,
      families: new Set(["ipv4", "ipv6"]),
      maxLifetime: Infinity,
      maxRecords: 10_000,
      ...options,
    });
  }

  /** One interface, `eth0` with index 2, on which `_foo._tcp` is browsed. */
  static browsing(options: Partial<BrowserOptions> = {}): Scene {
    const scene = new Scene(options);
    scene.browser.browse(fooQuery, scene.now);
    scene.browser.interfaceUp({ index: 2, name: "eth0" }, scene.now);
    return scene;
  }

  /** The same after the initial schedule; nothing of it is left to see. */
  static settled(options: Partial<BrowserOptions> = {}): Scene {
    const scene = Scene.browsing(options);
    scene.advance(10_000);
    scene.sent.length = 0;
    scene.events = [];
    return scene;
  }

  /** Lets time pass, waking the browser exactly when it asked for it. */
  advance(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (let wakes = 0;; wakes++) {
      assert.ok(wakes < 1_000_000, "the browser never sleeps");
      const next = this.browser.nextDeadline();
      if (next > end) break;
      this.now = Math.max(this.now, next);
      this.browser.handleTimeout(this.now);
      assert.ok(this.browser.nextDeadline() > this.now, "due at once again");
      this.poll();
    }
    this.now = end;
  }

  /** Delivers a packet. */
  receive(bytes: Uint8Array, interfaceIndex: number = 2, sourcePort: number = 5353): void {
    this.browser.handlePacket({ interfaceIndex, sourcePort, bytes }, this.now);
    this.poll();
  }

  /** Delivers a response with these answers. */
  hear(...answers: ResourceRecord[]): void {
    this.receive(response(answers));
  }

  poll(): void {
    for (let packet; (packet = this.browser.pollTransmit());) {
      const message = decodeMessage(packet.bytes);
      assert.ok(message && message.skipped === 0, "a packet that cannot be read was sent");
      assert.ok(packet.bytes.length <= 1472, "a packet that does not fit was sent");
      this.sent.push({ at: this.now, ...packet, message });
    }
    for (let event; (event = this.browser.pollEvent());) this.events.push({ at: this.now, event });
  }

  /** Takes what was told since: `found LABEL HOST:PORT=ADDRESS,...`, `lost NAME CAUSE`, `settled`. */
  take(): string[] {
    const taken = this.events.map(({ event }) => describe(event));
    this.events = [];
    return taken;
  }

  /** Takes the questions asked since: `[time, "TYPE NAME"]`. */
  takeQuestions(): [at: number, question: string][] {
    const taken = this.sent.flatMap(({ at, message }) =>
      message.questions.map((question): [number, string] => [
        at,
        `${question.type} ${question.name}`,
      ])
    );
    this.sent.length = 0;
    return taken;
  }
}

/** One line about an event. */
export function describe(event: DiscoveryEvent): string {
  switch (event.type) {
    case "found":
      return `found ${describeInstance(event.instance)}`;
    case "lost":
      return `lost ${event.name} ${event.cause}`;
    case "service-type":
      return `service type ${event.serviceType}`;
    case "settled":
      return "settled";
  }
}

/** `LABEL HOST:PORT=ADDRESS,ADDRESS;...`. */
export function describeInstance({ label, targets }: ServiceInstance): string {
  const servers = targets.map(({ host, port, addresses }) =>
    `${host}:${port}=${addresses.join(",")}`
  );
  return `${label} ${servers.join(";")}`;
}
