/**
 * The browser among responders and other browsers, on links of every quality.
 *
 * A seed decides everything that happens. A failure names it; put it among the regressions.
 */
import { assert } from "../testing.ts";
import { compareIp, parseIp } from "../../src/model/address.ts";
import type { ServiceInstance } from "../../src/model/instance.ts";
import type { Message } from "../../src/discovery/dns/message.ts";
import { MdnsBrowser } from "../../src/discovery/mdns/browser.ts";
import { seededRandom } from "../fakes/random.ts";
import { type Announced, Responder, type ResponderOptions } from "../fakes/responder.ts";
import { type End, SimulatedLink } from "../fakes/simulated_link.ts";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const foo = "_foo._tcp.local";
const present = { index: 2, name: "eth0" };

/** A browser as an end of a link, and what a pool would make of its events. */
class Watcher implements End {
  readonly browser: MdnsBrowser;
  readonly view = new Map<string, ServiceInstance>();
  /** Every `found` and `lost`. */
  readonly log: { at: number; text: string }[] = [];
  settled = false;
  up = true;

  constructor(random: () => number, maxLifetime: number = Infinity) {
    this.browser = new MdnsBrowser({
      random,
      families: new Set(["ipv4", "ipv6"]),
      maxLifetime,
      maxRecords: 10_000,
    });
    this.browser.browse({ serviceType: "_foo._tcp", domain: "local", interfaceName: "" }, 0);
    this.browser.interfaceUp(present, 0);
  }

  handlePacket(bytes: Uint8Array, _message: Message, now: number): void {
    if (!this.up) return;
    this.browser.handlePacket({ interfaceIndex: present.index, sourcePort: 5353, bytes }, now);
    this.collect(now);
  }

  handleTimeout(now: number): void {
    this.browser.handleTimeout(now);
    this.collect(now);
  }

  nextDeadline(): number {
    return this.browser.nextDeadline();
  }

  pollTransmit(): Uint8Array | undefined {
    const packet = this.browser.pollTransmit();
    return this.up ? packet?.bytes : undefined;
  }

  setUp(up: boolean, now: number): void {
    this.up = up;
    if (up) this.browser.interfaceUp(present, now);
    else this.browser.interfaceDown(present.index, now);
    this.collect(now);
  }

  collect(now: number): void {
    for (let event; (event = this.browser.pollEvent());) {
      if (event.type === "settled") {
        assert.ok(!this.settled);
        this.settled = true;
      } else if (event.type === "found") {
        const { instance } = event;
        assert.ok(instance.targets.length > 0);
        assert.ok(instance.targets.every(({ addresses }) => addresses.length > 0));
        assert.notEqual(describe(this.view.get(instance.name)), describe(instance), "told twice");
        this.view.set(instance.name, instance);
        this.log.push({ at: now, text: `found ${instance.name}` });
      } else if (event.type === "lost") {
        assert.ok(this.view.delete(event.name), `${event.name} was lost but not there`);
        this.log.push({ at: now, text: `lost ${event.name} ${event.cause}` });
      }
    }
  }

  seen(): string[] {
    return [...this.view.values()].map(describe).sort();
  }
}

function describe(instance: ServiceInstance | undefined): string {
  if (!instance) return "";
  const targets = instance.targets.map(({ host, port, addresses }) =>
    `${host}:${port}=${addresses}`
  );
  const txt = [...instance.txt].map(([key, value]) => `${key}=${value}`);
  return `${instance.name} ${targets.join(" ")} ${txt.join(" ")}`;
}

/** What a browser should see of these responders. */
function truth(responders: Iterable<Responder>): string[] {
  return [...responders].flatMap(({ announced }) =>
    [...announced].map(([name, { host, port, addresses, txt }]) => {
      const sorted = addresses.map((address) => parseIp(address)!).sort(compareIp);
      return `${name} ${host}:${port}=${sorted} ${txt.join(" ")}`;
    })
  ).sort();
}

function worker(id: number, change: Partial<Announced> = {}): Announced {
  return {
    label: `Worker ${id} v2\\.0 (höher)`,
    service: foo,
    host: `host-${id}.local`,
    port: 8000 + id,
    addresses: [`10.0.${id >> 8}.${id & 255}`],
    txt: ["version=1"],
    ...change,
  };
}

interface World {
  readonly link: SimulatedLink;
  readonly watchers: Watcher[];
  readonly responders: Responder[];
  readonly random: () => number;
}

function world(
  seed: number,
  counts: { readonly watchers: number; readonly responders: number },
  options: Partial<ResponderOptions> = {},
): World {
  const random = seededRandom(seed);
  const link = new SimulatedLink(random);
  const watchers = Array.from({ length: counts.watchers }, () => new Watcher(random));
  const responders = Array.from(
    { length: counts.responders },
    () => new Responder({ random, ...options }),
  );
  for (const end of [...watchers, ...responders]) link.attach(end);
  return { link, watchers, responders, random };
}

/** Responders come, go, crash and change at random; then nothing happens any more. */
function upheaval(seed: number): void {
  const pick = seededRandom(seed ^ 0x5eed);
  const counts = {
    watchers: 1 + Math.floor(pick() * 2),
    responders: 1 + Math.floor(pick() ** 2 * 49),
  };
  const { link, watchers, responders, random } = world(seed, counts, {
    additionals: pick() < 0.5,
    repeats: pick() < 0.5 ? [1000] : [1100, 3200],
  });
  link.conditions = { loss: pick() * 0.3, duplication: pick() * 0.2, delay: pick() * 200 };
  const upheavalTime = 5 * minute;
  const actions = 3 * counts.responders;
  for (let i = 0; i < actions; i++) {
    const id = Math.floor(random() * counts.responders);
    const choice = random();
    link.at(random() * upheavalTime, () => act(responders[id]!, id, choice, random, link.now));
  }
  for (const watcher of watchers) {
    if (pick() < 0.5) continue;
    const down = pick() * upheavalTime;
    link.at(down, () => watcher.setUp(false, link.now));
    link.at(down + pick() * 20_000, () => watcher.setUp(true, link.now));
  }
  link.run(upheavalTime);
  // TXT lives 75 minutes, and a new instance whose announcements were lost may have to wait for the
  // hourly query. Some loss stays: repetition must cope with it.
  link.conditions = { ...link.conditions, loss: 0.02 };
  link.run(upheavalTime + 80 * minute);
  for (const [i, watcher] of watchers.entries()) {
    assert.deepEqual(watcher.seen(), truth(responders), `watcher ${i}`);
    const size = watcher.browser.sizes().get(present.index)!;
    assert.ok(size.records <= 8 * counts.responders, `${size.records} records`);
    assert.equal(size.hosts, size.instances);
    assert.ok(watcher.settled);
  }
}

function act(
  responder: Responder,
  id: number,
  choice: number,
  random: () => number,
  now: number,
): void {
  const key = `${worker(id).label}.${foo}`;
  const current = responder.announced.get(key);
  if (!current) {
    responder.announce(worker(id), now);
  } else if (choice < 0.3) {
    responder.withdraw(key, now);
  } else if (choice < 0.45) {
    responder.crash();
  } else if (choice < 0.6) {
    responder.announce({ ...current, port: 1 + Math.floor(random() * 65535) }, now);
  } else if (choice < 0.75) {
    const count = 1 + Math.floor(random() * 3);
    const addresses = Array.from(
      { length: count },
      (_, i) =>
        random() < 0.7 ? `10.1.${i}.${Math.floor(random() * 250)}` : `2001:db8::${i}:${id + 1}`,
    );
    responder.announce({ ...current, addresses }, now);
  } else if (choice < 0.9) {
    responder.announce({ ...current, txt: [`version=${Math.floor(random() * 100)}`] }, now);
  } else {
    // A restart.
    responder.withdraw(key, now);
    responder.announce(worker(id), now);
  }
}

/** Seeds that failed once. */
const regressions: readonly number[] = [];
/** Others, and some that nobody has tried yet. */
const seeds = [
  ...regressions,
  ...Array.from({ length: 10 }, (_, i) => i + 1),
  ...Array.from({ length: 3 }, () => Math.floor(Math.random() * 2 ** 31)),
];

for (const [i, seed] of seeds.entries()) {
  Deno.test(`after an upheaval and a quiet time the view is the truth (${i + 1})`, () => {
    try {
      upheaval(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  });
}

Deno.test("a thousand instances announced at once are all found, none is lost", () => {
  const { link, watchers, responders } = world(1, { watchers: 1, responders: 20 });
  const [watcher] = watchers;
  link.conditions = { loss: 0, duplication: 0, delay: 50 };
  link.run(minute);
  for (let id = 0; id < 1000; id++) {
    responders[id % 20]!.announce(
      worker(id, { host: `host-${id % 20}.local`, addresses: ["10.0.0.1"] }),
      link.now,
    );
  }
  const sent = watcher!.browser.counters.transmitted;
  link.run(link.now + 1000);
  assert.equal(watcher!.view.size, 1000);
  link.run(link.now + 8 * minute);
  assert.deepEqual(watcher!.log.filter(({ text }) => text.startsWith("lost")), []);
  // Five rounds of SRV and A.
  const perRound = (watcher!.browser.counters.transmitted - sent) / 5;
  assert.ok(perRound < 200, `${perRound} packets a round`);
});

Deno.test("a thousand instances on a link that loses a tenth are all found in the end", () => {
  const { link, watchers, responders } = world(2, { watchers: 1, responders: 20 });
  const [watcher] = watchers;
  link.conditions = { loss: 0.1, duplication: 0, delay: 50 };
  link.run(minute);
  for (let id = 0; id < 1000; id++) {
    responders[id % 20]!.announce(
      worker(id, { host: `host-${id % 20}.local`, addresses: ["10.0.0.1"] }),
      link.now,
    );
  }
  // Whose three announcements were all lost is found by a query, and those are seldom by now.
  link.run(link.now + 5 * minute);
  const found = new Set(
    watcher!.log.filter(({ text }) => text.startsWith("found")).map(({ text }) => text),
  );
  assert.equal(found.size, 1000);
});

Deno.test("fifty restarts of all workers in a storm end in the true state", () => {
  const { link, watchers, responders, random } = world(3, { watchers: 1, responders: 50 });
  const [watcher] = watchers;
  link.conditions = { loss: 0.05, duplication: 0.05, delay: 20 };
  for (let round = 0; round < 50; round++) {
    for (const [id, responder] of responders.entries()) {
      const start = 20_000 + round * 2000 + random() * 1000;
      link.at(start, () => {
        for (const key of responder.announced.keys()) responder.withdraw(key, link.now);
      });
      link.at(start + random() * 900, () => {
        responder.announce(worker(id, { port: 1000 + round }), link.now);
      });
    }
  }
  link.run(20_000 + 100_000 + 2 * minute);
  assert.equal(watcher!.view.size, 50);
  assert.deepEqual(watcher!.seen(), truth(responders));
  const size = watcher!.browser.sizes().get(present.index)!;
  assert.equal(size.instances, 50);
  assert.ok(size.deadlines < 1000, `${size.deadlines} places`);
});

Deno.test("a crash is noticed within the TTL of the host's records", () => {
  for (const hostTtl of [10, 120]) {
    const { link, watchers, responders } = world(4, { watchers: 1, responders: 5 }, { hostTtl });
    const [watcher] = watchers;
    for (const [id, responder] of responders.entries()) responder.announce(worker(id), link.now);
    link.run(10 * minute);
    const crashedAt = link.now;
    responders[2]!.crash();
    link.run(link.now + 10 * minute);
    const losses = watcher!.log.filter(({ text }) => text.startsWith("lost"));
    assert.deepEqual(losses.map(({ text }) => text), [`lost ${worker(2).label}.${foo} expired`]);
    assert.ok(losses[0]!.at - crashedAt <= hostTtl * 1000);
  }
});

Deno.test("an instance in doubt that crashed goes in 10 s, one that is there stays", () => {
  const { link, watchers, responders } = world(5, { watchers: 1, responders: 2 });
  const [watcher] = watchers;
  for (const [id, responder] of responders.entries()) responder.announce(worker(id), link.now);
  link.run(10 * minute);
  responders[0]!.crash();
  const start = link.now;
  // As a health check does, and for the healthy one as well.
  for (let i = 0; i < 10; i++) {
    link.at(start + i * 2000, () => {
      for (const id of [0, 1]) watcher!.browser.reconfirm(`${worker(id).label}.${foo}`, link.now);
    });
  }
  link.run(start + 40_000);
  const losses = watcher!.log.filter(({ text }) => text.startsWith("lost"));
  assert.deepEqual(losses, [{
    at: start + 10_000,
    text: `lost ${worker(0).label}.${foo} expired`,
  }]);
});

Deno.test("a responder that believes its known answers does not starve a short maximal life", () => {
  const random = seededRandom(6);
  const link = new SimulatedLink(random);
  const watcher = new Watcher(random, 30_000);
  const responder = new Responder({ random });
  link.attach(watcher);
  link.attach(responder);
  responder.announce(worker(1), 0);
  link.run(hour);
  assert.deepEqual(watcher.log.map(({ text }) => text), [`found ${worker(1).label}.${foo}`]);
  responder.crash();
  link.run(hour + 30_000);
  assert.equal(watcher.view.size, 0);
});

/** Runs `days` of nothing with 50 responders; memory must not grow, nor traffic beyond RFC 6762 5.2. */
function idle(days: number, hostTtl: number): void {
  const { link, watchers, responders } = world(7, { watchers: 1, responders: 50 }, { hostTtl });
  const { browser, log } = watchers[0]!;
  for (const [id, responder] of responders.entries()) {
    link.at(id * 1000, () => responder.announce(worker(id), link.now));
  }
  link.run(hour);
  const start = browser.sizes().get(present.index)!;
  const sent = browser.counters.transmitted;
  for (let part = 1; part <= 10; part++) {
    link.run(hour + part * days * day / 10);
    const size = browser.sizes().get(present.index)!;
    assert.ok(size.deadlines <= 2 * (size.records + size.questions) + 200, `${size.deadlines}`);
    assert.deepEqual({ ...size, deadlines: 0 }, { ...start, deadlines: 0 });
  }
  assert.equal(log.length, 50, "every one found once and never lost");
  // The hourly question, and for each of the 50 one packet whenever its host's records, its TXT or
  // its pointer reach 80 %. They may share packets.
  const seconds = days * 24 * 3600;
  const allowed = seconds / 3600 + 50 * (seconds / (0.8 * hostTtl) + 2 * seconds / (0.8 * 4500));
  const packets = browser.counters.transmitted - sent;
  assert.ok(packets <= allowed, `${packets} packets, ${allowed} allowed`);
  assert.ok(packets > 0.1 * allowed, `${packets} packets are too few to be true`);
}

Deno.test("a simulated month with 50 responders leaves memory flat and the link quiet", () => {
  idle(30, 4500);
});

Deno.test("simulated hours with TTLs of 120 s leave memory flat and the link quiet", () => {
  idle(0.2, 120);
});
