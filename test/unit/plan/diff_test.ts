import {
  destinationKey,
  type DestinationState,
  type VirtualServiceState,
} from "../../../src/model/ipvs.ts";
import { type Step, stepObject } from "../../../src/model/step.ts";
import { applySteps } from "../../../src/plan/apply.ts";
import { desiredService, type VirtualServiceSettings } from "../../../src/plan/desired.ts";
import { drainInterval, type Drains, planService } from "../../../src/plan/diff.ts";
import { Pool } from "../../../src/pool/pool.ts";
import { found, ip, lost, settled, target } from "../../fakes/instances.ts";
import { assert, fc } from "../../testing.ts";

const settings: VirtualServiceSettings = {
  bind: { address: ip("192.0.2.10"), port: 80 },
  scheduler: "rr",
};
const key = "tcp 192.0.2.10:80";
const drainTimeout = 60_000;

/** A kernel with one virtual service, and a planner that works on it. */
class Bench {
  readonly pool = new Pool("ipv4");
  readonly table = new Map<string, VirtualServiceState>();
  drains: Drains = new Map();
  readAt = 0;
  recheckAt = Infinity;

  desired() {
    return desiredService(settings, this.pool, drainTimeout);
  }

  plan(now: number): readonly Step[] {
    const observation = { actual: this.table.get(key), readAt: this.readAt, drains: this.drains };
    const plan = planService(this.desired(), observation, now);
    this.drains = plan.drains;
    this.recheckAt = plan.recheckAt;
    return plan.steps;
  }

  /** Plans and applies; returns the steps as text. */
  pass(now: number): string[] {
    const steps = this.plan(now);
    applySteps(this.table, steps);
    return steps.map((step) => `${step.op} ${stepObject(step).replace(`${key} -> `, "")}`);
  }

  /** What a read would find: these many connections. */
  read(
    now: number,
    active: Readonly<Record<string, number>> = {},
    inactive: Readonly<Record<string, number>> = {},
  ): void {
    this.readAt = now;
    for (const endpoint of Object.keys({ ...active, ...inactive })) {
      const destinations = this.table.get(key)!.destinations as Map<string, DestinationState>;
      const { destination } = destinations.get(endpoint)!;
      const counters = {
        activeConnections: active[endpoint] ?? 0,
        inactiveConnections: inactive[endpoint] ?? 0,
        persistentConnections: 0,
      };
      destinations.set(endpoint, { destination, counters });
    }
  }

  weights(): Record<string, number> {
    const destinations = this.table.get(key)?.destinations ?? new Map<string, DestinationState>();
    return Object.fromEntries(
      [...destinations].map(([endpoint, { destination }]) => [endpoint, destination.weight]),
    );
  }
}

Deno.test("from nothing: the virtual service, then its destinations", () => {
  const bench = new Bench();
  bench.pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  assert.deepEqual(bench.pass(0), [`add-service ${key}`, "add-destination 10.0.0.1:80"]);
  assert.deepEqual(bench.pass(1), [], "an unchanged table needs nothing");
});

Deno.test("a virtual service that differs is changed in place, with what differs as reason", () => {
  const bench = new Bench();
  bench.pass(0);
  const present = bench.table.get(key)!;
  bench.table.set(key, { ...present, service: { ...present.service, scheduler: "wlc", flags: 1 } });
  const [step, ...others] = bench.plan(1);
  assert.deepEqual(others, []);
  assert.equal(step!.op, "edit-service");
  assert.equal(step!.reason, "scheduler wlc becomes rr, flags 0x1 become 0x0");
});

Deno.test("a goodbye quiesces at once; deletion waits for the connections to end", () => {
  const bench = new Bench();
  bench.pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  bench.pass(0);
  bench.pool.handle(lost("a", "goodbye"));
  assert.deepEqual(bench.pass(1000), ["edit-destination 10.0.0.1:80"]);
  assert.deepEqual(bench.weights(), { "10.0.0.1:80": 0 });
  assert.equal(bench.recheckAt, 1000 + drainInterval);
  bench.read(2000, { "10.0.0.1:80": 3 });
  assert.deepEqual(bench.pass(2000), []);
  assert.equal(bench.recheckAt, 2000 + drainInterval);
  bench.read(3000, { "10.0.0.1:80": 0 });
  assert.deepEqual(bench.pass(3000), ["delete-destination 10.0.0.1:80"]);
  assert.equal(bench.recheckAt, Infinity);
});

Deno.test("counters read before it was quiesced do not count as idle", () => {
  const bench = new Bench();
  bench.pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  bench.pass(0);
  bench.read(900, { "10.0.0.1:80": 0 });
  bench.pool.handle(lost("a"));
  bench.pass(1000);
  assert.deepEqual(bench.pass(2500), [], "not read since");
  bench.read(2600, { "10.0.0.1:80": 0 });
  assert.deepEqual(bench.pass(2600), ["delete-destination 10.0.0.1:80"]);
});

Deno.test("not even an idle destination goes within the second in which a goodbye may be taken back", () => {
  const bench = new Bench();
  bench.pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  bench.pass(0);
  bench.pool.handle(lost("a"));
  bench.pass(1000);
  bench.read(1500, { "10.0.0.1:80": 0 });
  assert.deepEqual(bench.pass(1999), []);
  bench.pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  assert.deepEqual(bench.pass(1999), ["edit-destination 10.0.0.1:80"]);
  assert.deepEqual(bench.weights(), { "10.0.0.1:80": 1 }, "it has its weight back");
  assert.deepEqual([...bench.drains], []);
});

Deno.test("when the drain time is over it goes with its connections, and says how many", () => {
  const bench = new Bench();
  bench.pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  bench.pass(0);
  bench.pool.handle(lost("a", "expired"));
  bench.pass(1000);
  bench.read(1000 + drainTimeout - 1, { "10.0.0.1:80": 7 });
  assert.deepEqual(bench.plan(1000 + drainTimeout - 1), []);
  const [step] = bench.plan(1000 + drainTimeout);
  assert.equal(step?.op, "delete-destination");
  assert.match(step!.reason, /no longer announced .* drain time of 60 s is over, with 7 connect/);
});

Deno.test("ended connections do not hold a destination, live ones among them do", () => {
  const bench = new Bench();
  bench.pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  bench.pass(0);
  bench.pool.handle(lost("a"));
  bench.pass(1000);
  bench.read(5000, {}, { "10.0.0.1:80": 5 });
  const observation = { actual: bench.table.get(key), readAt: 5000, drains: bench.drains };
  const plan = (ended: number) =>
    planService(
      bench.desired(),
      { ...observation, ended: new Map([["10.0.0.1:80", ended]]) },
      5000,
    );
  assert.deepEqual(plan(4).steps, []);
  assert.match(plan(5).steps[0]!.reason, /its connections have ended/);
});

Deno.test("adopted destinations stay until discovery has settled, those that said goodbye do not", () => {
  const bench = new Bench();
  for (const name of ["a", "b", "c"]) {
    bench.pool.handle(found(name, [target(80, [`10.0.0.${name.charCodeAt(0)}`])]));
  }
  bench.pass(0);
  // A restart: the kernel is as it was, klb knows nothing.
  const restarted = new Bench();
  for (const [name, state] of bench.table) restarted.table.set(name, state);
  assert.deepEqual(restarted.pass(1000), []);
  restarted.pool.handle(found("a", [target(80, ["10.0.0.97"])]));
  restarted.pool.handle(found("b", [target(80, ["10.0.0.98"])]));
  assert.deepEqual(restarted.pass(1100), []);
  restarted.pool.handle(lost("b", "goodbye"));
  assert.deepEqual(restarted.pass(1200), ["edit-destination 10.0.0.98:80"]);
  restarted.pool.handle(settled());
  assert.deepEqual(restarted.pass(9000), ["edit-destination 10.0.0.99:80"]);
  assert.deepEqual(restarted.weights(), {
    "10.0.0.97:80": 1,
    "10.0.0.98:80": 0,
    "10.0.0.99:80": 0,
  });
});

Deno.test("a destination that was draining before a restart goes on draining after it", () => {
  const bench = new Bench();
  bench.pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  bench.pass(0);
  bench.pool.handle(lost("a"));
  bench.pass(10);
  bench.drains = new Map();
  bench.pool.forgetDeparture("10.0.0.1:80");
  bench.pool.handle(settled());
  bench.read(20, { "10.0.0.1:80": 1 });
  assert.deepEqual(bench.pass(20), []);
  bench.read(5000, { "10.0.0.1:80": 0 });
  assert.deepEqual(bench.pass(5000), ["delete-destination 10.0.0.1:80"]);
});

Deno.test("whatever others did to the table, one pass leads to what is desired, the next does nothing", () => {
  const endpoint = fc.integer({ min: 1, max: 8 }).map((n) => ({
    address: ip(`10.0.0.${n}`),
    port: 80,
  }));
  const present = fc.record({ endpoint, weight: fc.nat(2), direct: fc.boolean() });
  const arbitrary = fc.record({
    members: fc.uniqueArray(fc.integer({ min: 1, max: 8 })),
    scheduler: fc.option(fc.constantFrom("rr", "wlc"), { nil: undefined }),
    present: fc.array(present),
    settled: fc.boolean(),
  });
  fc.assert(fc.property(arbitrary, (world) => {
    const bench = new Bench();
    for (const n of world.members) {
      bench.pool.handle(found(`w${n}`, [target(80, [`10.0.0.${n}`])]));
    }
    if (world.settled) bench.pool.handle(settled());
    const desired = bench.desired();
    if (world.scheduler) {
      const destinations = new Map<string, DestinationState>();
      for (const { endpoint, weight, direct } of world.present) {
        destinations.set(destinationKey(endpoint), {
          destination: {
            ...endpoint,
            weight,
            forwarding: direct ? "direct" : "masquerade",
            upperThreshold: 0,
            lowerThreshold: 0,
            tunnel: { type: "ipip", port: 0, flags: 0 },
          },
          counters: { activeConnections: 0, inactiveConnections: 0, persistentConnections: 0 },
        });
      }
      const service = { ...desired.service, scheduler: world.scheduler };
      bench.table.set(key, { service, destinations });
    }
    bench.pass(0);
    const after = bench.table.get(key)!;
    assert.deepEqual(after.service, desired.service);
    for (const [name, { destination }] of desired.destinations) {
      assert.deepEqual(after.destinations.get(name)?.destination, destination);
    }
    for (const [name, { destination }] of after.destinations) {
      if (desired.destinations.has(name) || !world.settled) continue;
      assert.equal(destination.weight, 0, `${name} drains`);
    }
    assert.deepEqual(bench.pass(0), []);
    if (!world.settled) return;
    bench.read(5000);
    bench.pass(5000);
    bench.read(10_000);
    bench.pass(10_000);
    assert.deepEqual(
      [...after.destinations.keys()].sort(),
      [...desired.destinations.keys()].sort(),
    );
  }));
});
