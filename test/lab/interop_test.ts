/**
 * klb beside what others run: three announcers that share no code, on the workers and, as neighbours
 * of klb, on the director.
 */
import { assert } from "../testing.ts";
import { resolvedProgram } from "./packages.ts";
import { destinations, foo, fooConfig, sleep, startKlb } from "./scene.ts";
import { type Director, inLab, type Table, Topology, type Worker } from "./topology.ts";

const ignore = !inLab;
const resolved = resolvedProgram();

/** Generous: only a busy machine needs it. */
const limit = 60_000;

const is = (expected: string) => (table: Table) => destinations(table) === expected;

Deno.test({
  name: "systemd-resolved announces, answers and crashes as others do",
  ignore: ignore || !resolved,
  async fn() {
    await using topology = await Topology.create({ workers: 2 });
    const { director } = topology;
    const name = "Mr. Worker v2.0 (höher)";
    topology.worker(1).announceResolved(resolved!, { ...foo(name), txt: { a: "b c" } });
    // One that is there before klb, and one that comes later.
    await sleep(4000);
    const klb = await startKlb(director, `zeroconf_max_ttl = "6s"\n${fooConfig("service")}`);
    await director.waitFor("found by its answer", is(".11:80/1"), limit);
    const second = topology.worker(2).announceResolved(resolved!, foo("second"));
    await director.waitFor("found by its announcement", is(".11:80/1 .12:80/1"), limit);
    // Twice as long as it is believed without an answer.
    await sleep(12_000);
    assert.equal(destinations(director.table()), ".11:80/1 .12:80/1");
    await second.process.kill9();
    await director.waitFor("gone by its time to live", is(".11:80/1"), limit);
    await klb.waitForLog(/announced as "Mr\. Worker v2\.0 \(höher\)" on service/);
    await klb.waitForLog(/"second" was no longer announced on service/);
  },
});

Deno.test({
  name: "avahi and python-zeroconf: any name, conflicts, changes, several addresses, a crash",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 3 });
    const { director } = topology;
    const [one, two, three] = topology.workers as [Worker, Worker, Worker];
    const klb = await startKlb(director, fooConfig("service"));
    const name = "Mr. Worker v2.0 (höher) \\ 100%";
    const avahi = one.announce({ ...foo(name), txt: { path: "/", empty: "" } });
    two.addAddress("service", "192.168.99.112/24");
    const zeroconf = await two.announceZeroconf(foo("Mr. Worker v3.0  (tiefer)"), {
      hostTtl: 5,
      addresses: ["192.168.99.112", "192.168.99.12", "192.168.99.212"],
    });
    await director.waitFor("one each", is(".11:80/1 .12:80/1"), limit);
    await klb.waitForLog(/announced as "Mr\. Worker v2\.0 \(höher\) \\ 100%" on service/);
    await klb.waitForLog(/announced as "Mr\. Worker v3\.0 {2}\(tiefer\)" on service/);

    // Changes without a goodbye, by somebody whose records stay true.
    const witness = await director.watch();
    const tables = (since: number) =>
      witness.events.flatMap((event) =>
        event.kind === "table" && event.at >= since ? [destinations(event.table)] : []
      ).filter((text, i, all) => text !== all[i - 1]);
    let since = Date.now();
    zeroconf.update({ txt: { weight: "3" } });
    await zeroconf.process.waitForLog(/updated/, limit);
    await sleep(2000);
    const moved = tables(since).filter((text) => text !== ".11:80/1 .12:80/1");
    assert.deepEqual(moved, [], "new TXT data moves no destination");

    since = Date.now();
    zeroconf.update({ port: 8080 });
    await director.waitFor("the new port alone", is(".11:80/1 .12:8080/1"), limit);
    assertAll(tables(since), /\.12:\d+\/1/, "the new port comes before the old one goes");

    await sleep(1500); // What was heard a second ago is not outdated by news (RFC 6762 10.2).
    since = Date.now();
    zeroconf.update({ addresses: ["192.168.99.112"] });
    await director.waitFor("the new address alone", is(".112:8080/1 .11:80/1"), limit);
    assertAll(tables(since), /:8080\/1/, "the new address comes before the old one goes");

    // Far beyond the TTL of five seconds: klb asked, and was answered. Then nobody answers.
    await sleep(6000);
    assert.equal(destinations(director.table()), ".112:8080/1 .11:80/1");
    await zeroconf.kill();
    await director.waitFor("the crashed one is gone", is(".11:80/1"), limit);

    // The same name from two hosts: the later one finds out while probing, and takes another.
    one.announce(foo("plain", 81));
    await director.waitFor("the first of that name", is(".11:80/1 .11:81/1"), limit);
    three.announce(foo(name));
    await two.announceZeroconf(foo("plain"));
    await director.waitFor("all of them", is(".11:80/1 .11:81/1 .12:80/1 .13:80/1"), limit);
    await klb.waitForLog(/announced as "Mr\. Worker v2\.0 \(höher\) \\ 100% #2" on service/);
    await klb.waitForLog(/announced as "plain-2" on service/);
    await avahi.goodbye();
    await director.waitFor("the first alone left", is(".12:80/1 .13:80/1"), limit);

    // avahi takes a new address of its host for a new fact, and the old one back with a goodbye.
    since = Date.now();
    three.sysctl("net/ipv4/conf/all/promote_secondaries", 1); // Else it goes with the first.
    three.addAddress("service", "192.168.99.113/24");
    await sleep(1500);
    assert.equal(destinations(director.table()), ".12:80/1 .13:80/1", "one member a host");
    three.removeAddress("service", "192.168.99.13/24");
    await director.waitFor("moved", is(".113:80/1 .12:80/1"), limit);
    assertAll(tables(since), /\.(13|113):80\/1/, "never without the host");
  },
});

function assertAll(tables: readonly string[], pattern: RegExp, what: string): void {
  assert.ok(tables.length > 0, "the witness saw nothing");
  for (const text of tables) assert.match(text, pattern, what);
}

/** What a neighbour on the director has to go on doing. */
interface Neighbour {
  readonly name: string;
  readonly missing: boolean;
  /** The ways in which it answers at all (`mdns_ask.py`). */
  readonly ways: readonly string[];
  start(director: Director): AsyncDisposable;
}

const neighbours: readonly Neighbour[] = [
  {
    name: "avahi-daemon",
    missing: false,
    ways: ["multicast", "legacy", "unicast"],
    start(director) {
      const announced = director.announce({ name: "own", type: "_bar._tcp", port: 1 }, {
        interfaces: ["service"],
      });
      return announced.daemon.process;
    },
  },
  {
    name: "systemd-resolved",
    missing: !resolved,
    ways: ["multicast", "legacy", "unicast"],
    start: (director) =>
      director.announceResolved(resolved!, { name: "own", type: "_bar._tcp", port: 1 }, {
        interfaces: ["service"],
      }).process,
  },
];

for (const { name, missing, ways, start } of neighbours) {
  Deno.test({
    name: `beside ${name} on the director, started before or after klb, both hear and answer`,
    ignore: ignore || missing,
    async fn() {
      await using topology = await Topology.create({ workers: 2 });
      const { director } = topology;
      const [worker, asker] = [topology.worker(1), topology.worker(2)];
      const answers = async () => {
        const script = new URL("./mdns_ask.py", import.meta.url).pathname;
        const address = director.link("service").ipv4;
        const args = [script, asker.ipv4, "director.local.", address, ...ways];
        return JSON.parse(
          await asker.must("/usr/bin/python3", args, { timeoutMs: 2 * limit }),
        );
      };
      const expected = Object.fromEntries(
        ways.map((way) => [way, director.link("service").ipv4]),
      );
      const first = worker.announce(foo("first"));
      {
        await using _neighbour = start(director);
        assert.deepEqual(await answers(), expected, "without klb");
        await using klb = await startKlb(director, fooConfig("service"));
        await director.waitFor("the worker's answer", is(".11:80/1"), limit);
        // klb's sockets are the last ones bound to the port, and get what Linux gives only to those.
        assert.deepEqual(await answers(), expected, "with klb, started later");
        worker.announce(foo("second", 81));
        await director.waitFor("the announcement", is(".11:80/1 .11:81/1"), limit);
        await klb.terminate();
      }
      await director.ipvsadm(["-C"]);
      await using klb = await startKlb(director, fooConfig("service"));
      await director.waitFor("both", is(".11:80/1 .11:81/1"), limit);
      await using _neighbour = start(director);
      assert.deepEqual(await answers(), expected, "with klb, started earlier");
      await first.goodbye();
      await director.waitFor("the goodbye", is(""), limit);
      assert.doesNotMatch(klb.log, /mDNS on|cannot browse/);
    },
  });
}
