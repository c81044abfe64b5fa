/**
 * klb follows the interfaces of its director: they come, go, are recreated, lose carrier, change
 * address. Each time the table is true again without a restart.
 */
import { assert } from "../testing.ts";
import {
  destinations,
  foo,
  fooConfig,
  fooKey,
  sleep,
  startKlb,
  timesSaid,
  waitForMore,
} from "./scene.ts";
import { inLab, type Table, Topology } from "./topology.ts";

const ignore = !inLab;

/** Goodbyes and new interfaces count within this; a kernel that is busy may take much longer. */
const limit = 60_000;

const is = (expected: string) => (table: Table) => destinations(table) === expected;

Deno.test({
  name: "an interface appears, flaps, loses its carrier, is recreated, and changes its address",
  ignore,
  async fn() {
    // A bridge that snoops forwards only where somebody joined, so a lost membership shows.
    await using topology = await Topology.create({
      workers: 2,
      legs: { service: { snooping: true } },
    });
    const { director } = topology;
    const [stays, leaves] = [topology.worker(1), topology.worker(2)];
    const segment = topology.segment();
    segment.unplugDirector();
    stays.announce(foo("stays"));
    let leaving = leaves.announce(foo("leaves"));
    const klb = await startKlb(director, fooConfig("service"));
    await klb.waitForLog(/interface service does not exist \(there are: public\); waiting for it/);
    await sleep(1500); // Their announcements are over.

    segment.plugDirector();
    await director.waitFor("found on the new interface", is(".11:80/1 .12:80/1"), limit);
    await klb.waitForLog(/interface service is there now/);

    // A worker leaves while the interface is down: its goodbye is heard by nobody.
    const closed = /no longer browsing on service over ipv4/;
    let closings = timesSaid(klb, closed);
    director.setLink("service", "down");
    await waitForMore(klb, closed, closings++);
    await Promise.all([leaving.goodbye(), sleep(2000)]);
    assert.equal(destinations(director.table()), ".11:80/1 .12:80/1", "a flap removes nobody");
    director.setLink("service", "up");
    await director.waitFor("what left meanwhile is gone", is(".11:80/1"), limit);

    // A worker comes while the carrier is away.
    segment.setPort("director", "down");
    await waitForMore(klb, closed, closings++);
    leaving = leaves.announce(foo("leaves"));
    await sleep(2000);
    segment.setPort("director", "up");
    await director.waitFor("what came meanwhile is there", is(".11:80/1 .12:80/1"), limit);

    // The same name, another index: what the old one knew must not outlive it, nor die with it.
    segment.unplugDirector();
    segment.plugDirector();
    await waitForMore(klb, closed, closings++);
    await leaving.goodbye();
    await director.waitFor("goodbye heard on the recreated one", is(".11:80/1"), limit);

    director.removeAddress("service", "192.168.99.1/24");
    await waitForMore(klb, closed, closings++);
    director.addAddress("service", "192.168.99.200/24");
    leaving = leaves.announce(foo("leaves"));
    await director.waitFor("found from the new address", is(".11:80/1 .12:80/1"), limit);
    await waitForMore(klb, /browsing on service over ipv4/, 2 * closings);

    // A packet on its way while the interface goes may fail, and is told; sockets always open.
    assert.doesNotMatch(klb.log, /cannot browse/);
    const { code } = await klb.terminate();
    assert.equal(code, 0);
  },
});

Deno.test({
  name: "one worker through two interfaces is one destination, on a host with many interfaces",
  ignore,
  async fn() {
    await using topology = await Topology.create({
      workers: 1,
      legs: { service: {}, storage: {} },
    });
    const { director } = topology;
    // One socket may join a group on 20 interfaces (igmp_max_memberships).
    for (let i = 0; i < 25; i++) director.addLink(`many${i}`, "dummy", `10.9.${i}.1/24`);
    const announced = [];
    for (const leg of ["service", "storage"]) {
      announced.push(
        await topology.worker(1).announceZeroconf(foo("both"), { interfaces: [leg] }),
      );
    }
    const klb = await startKlb(director, fooConfig());
    await director.waitFor("one destination", is(".11:80/1"), limit);
    assert.equal(timesSaid(klb, /browsing on \w+ over ipv4/), 28, "25, public, and both legs");
    // Both have it once the second has answered as well.
    await sleep(3000);
    const witness = await director.watch();
    await announced[0]!.goodbye();
    await witness.goodbye("both._foo._tcp.local");
    await sleep(1500); // A goodbye takes a second.
    assert.equal(destinations(director.table()), ".11:80/1", "one leg still announces it");
    await announced[1]!.goodbye();
    await director.waitFor("it left with the last", is(""), limit);
    // Were the goodbyes on one leg only, this test would prove nothing.
    const legs = new Set(
      witness.events.flatMap((event) =>
        event.kind === "mdns" && event.message.records.some(({ ttl }) => ttl === 0)
          ? [event.interfaceIndex]
          : []
      ),
    );
    assert.deepEqual(legs, new Set(["service", "storage"].map((leg) => director.link(leg).index)));
  },
});

Deno.test({
  name: "an interface with IPv6 only, behind a bridge that snoops",
  ignore,
  async fn() {
    await using topology = await Topology.create({
      workers: 2,
      legs: { service: { snooping: true } },
    });
    const { director } = topology;
    const bridged = performance.now();
    director.removeAddress("service", "192.168.99.1/24");
    topology.worker(1).announce(foo("early"));
    const klb = await startKlb(director, fooConfig("service", "[2001:db8:1::4]:80"));
    const is = (expected: string) => (table: Table) =>
      destinations(table, "tcp [2001:db8:1::4]:80") === expected;
    await director.waitFor("found over IPv6", is(":11:80/1"), limit);
    assert.doesNotMatch(klb.log, /over ipv4/);
    // The bridge floods until its querier has been there for ten seconds.
    await sleep(Math.max(0, 12_000 - (performance.now() - bridged)));
    const groups = await topology.segment().groups();
    assert.ok(groups.get("ff02::fb")?.has("director"), JSON.stringify([...groups.keys()]));
    const late = topology.worker(2).announce(foo("late"));
    await director.waitFor("found", is(":11:80/1 :12:80/1"), limit);
    await late.goodbye();
    await director.waitFor("gone", is(":11:80/1"), limit);
  },
});

Deno.test({
  name: "after a jump of the wall clock everything is asked for again",
  // Elsewhere it is the clock of the machine.
  ignore: Deno.env.get("KLB_LAB_BACKEND") !== "uml",
  async fn() {
    await using topology = await Topology.create({ workers: 1 });
    const { director } = topology;
    const announced = topology.worker(1).announce(foo("crashes"));
    const klb = await startKlb(director, fooConfig("service"));
    await director.waitFor("found", is(".11:80/1"), limit);
    await announced.kill();
    await director.must("date", ["--set", `@${Math.floor(Date.now() / 1000) + 3600}`]);
    await klb.waitForLog(/the clock has jumped; asking for everything again/, limit);
    await director.waitFor("the crash is noticed long before its TTL", is(""), limit);
    assert.ok(director.table().some(({ key }) => key === fooKey));
  },
});
