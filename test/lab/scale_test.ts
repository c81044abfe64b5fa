/**
 * Many workers, many services, many restarts. Nothing is timed here but for the reader; see
 * `test/bench/discovery_bench.ts`.
 */
import { assert } from "../testing.ts";
import { seededRandom } from "../fakes/random.ts";
import type { Announced } from "../fakes/responder.ts";
import { fooConfig, fooKey, sleep, startKlb } from "./scene.ts";
import { instances, Swarm } from "./swarm.ts";
import { destinationsOf, type Director, inLab, Topology } from "./topology.ts";

const ignore = !inLab;

/** Waits until exactly these are the destinations; tells how long that took, in milliseconds. */
async function untilExactly(
  director: Director,
  expected: ReadonlyMap<string, readonly string[]>,
  limitMs = 120_000,
): Promise<number> {
  const start = performance.now();
  const wanted = new Map([...expected].map(([key, all]) => [key, all.toSorted().join(" ")]));
  const size = [...expected.values()].reduce((sum, all) => sum + all.length, 0);
  for (;;) {
    // Reading a large table again and again would slow down what is waited for.
    const rows = director.tableText().split("\n").filter((line) => /^ +-> [0-9A-F[]/.test(line));
    const late = performance.now() - start > limitMs;
    if (rows.length === size || late) {
      const table = director.table();
      const wrong = [...wanted].filter(([key, all]) =>
        destinationsOf(table, key).join(" ") !== all
      );
      if (wrong.length === 0) return performance.now() - start;
      if (late) {
        const [key] = wrong[0]!;
        const found = destinationsOf(table, key);
        throw new Error(
          `${rows.length} of ${size} destinations; ${key} has ${found.length}: ${found.join(" ")}`,
        );
      }
    }
    await sleep(20);
  }
}

const endpoints = (all: Iterable<Announced>) =>
  [...all].map(({ addresses, port }) => `${addresses[0]}:${port}`);

function tell(what: string, milliseconds: number): void {
  // deno-lint-ignore no-console
  console.log(`    ${what}: ${milliseconds.toFixed(0)} ms`);
}

Deno.test({
  name: "1,000 instances announced at once are all in the kernel, and again after a restart",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 1 });
    const { director } = topology;
    const klb = await startKlb(director, fooConfig("service"));
    using swarm = new Swarm(topology.worker(1), seededRandom(1));
    const all = [...instances(1000)];
    const expected = new Map([[fooKey, endpoints(all)]]);
    const start = performance.now();
    swarm.announce(all);
    tell("1,000 announcements sent within", performance.now() - start);
    await untilExactly(director, expected);
    tell("first announcement to the last of 1,000 destinations", performance.now() - start);
    // Every announcement comes three times; nothing may change by that.
    await sleep(4000);
    await untilExactly(director, expected);
    await klb.terminate();

    await director.ipvsadm(["-C"]);
    const sent = swarm.sent;
    await startKlb(director, fooConfig("service"));
    tell("ready to the last of 1,000 that had to be asked", await untilExactly(director, expected));
    await sleep(3000);
    // All know the others' answers by now: asked again, nobody has to speak.
    assert.ok(swarm.sent - sent < 3000, `${swarm.sent - sent} answers`);

    swarm.end(all.slice(0, 500).map(({ label, service }) => `${label}.${service}`), "goodbye");
    tell(
      "500 goodbyes to the last deletion",
      await untilExactly(director, new Map([[fooKey, endpoints(all.slice(500))]])),
    );
  },
});

Deno.test({
  name: "500 services with one or two instances each behave as one",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 1 });
    const { director } = topology;
    const names = Array.from({ length: 500 }, (_, i) => `s${i}`);
    const config = names.map((name, i) =>
      `[[service]]\nbind = "1.2.3.4:${1000 + i}"\nzeroconf_service = "${name}"\n` +
      `zeroconf_interface = "service"\n`
    ).join("\n");
    await startKlb(director, config);
    using swarm = new Swarm(topology.worker(1), seededRandom(2));
    const all = names.map((name, i) =>
      [
        ...instances(1 + i % 2, `_${name}._tcp.local`, `w${i}x`),
      ].map((each, n) => ({ ...each, addresses: [`10.8.${i >> 7}.${2 * (i & 127) + n}`] }))
    );
    const expected = new Map(
      all.map((each, i): [string, string[]] => [`tcp 1.2.3.4:${1000 + i}`, endpoints(each)]),
    );
    swarm.announce(all.flat());
    tell(
      "first announcement to the last of 750 in 500 services",
      await untilExactly(director, expected),
    );
    // One of each leaves, and the next one comes.
    swarm.end(all.map(([each]) => `${each!.label}.${each!.service}`), "goodbye");
    const news = all.map(([each]) => ({ ...each!, label: `new ${each!.label}`, port: 81 }));
    swarm.announce(news);
    for (const [i, each] of news.entries()) {
      expected.set(`tcp 1.2.3.4:${1000 + i}`, endpoints([...all[i]!.slice(1), each]));
    }
    tell("500 replaced", await untilExactly(director, expected));
  },
});

Deno.test({
  name: "50 storms in which every worker restarts end in the true state",
  ignore,
  async fn() {
    const seed = 3;
    const random = seededRandom(seed);
    await using topology = await Topology.create({ workers: 1 });
    const { director } = topology;
    const klb = await startKlb(director, fooConfig("service"));
    using swarm = new Swarm(topology.worker(1), random);
    let all: Announced[] = [...instances(100)];
    swarm.announce(all);
    for (let storm = 0; storm < 50; storm++) {
      await sleep(random() * 300);
      const crash = random() < 0.3;
      swarm.end(
        all.map(({ label, service }) => `${label}.${service}`),
        crash ? "crash" : "goodbye",
      );
      if (random() < 0.5) await sleep(random() * 50);
      // Some come back on another port, some with another address; in any order.
      all = all.map((each): Announced => {
        const dice = random();
        if (dice < 0.1) return { ...each, port: each.port % 100 + 80 };
        if (dice < 0.2) return { ...each, addresses: [each.addresses[0]!.replace("10.8", "10.9")] };
        return each;
      }).sort(() => random() - 0.5);
      swarm.announce(all);
    }
    const gone = all.splice(0, 30);
    swarm.end(gone.map(({ label, service }) => `${label}.${service}`), "goodbye");
    const expected = new Map([[fooKey, endpoints(all)]]);
    tell("end of the storms to the true state", await untilExactly(director, expected));
    await sleep(5000);
    await untilExactly(director, expected, 1000);
    const { code } = await klb.terminate();
    assert.equal(code, 0, `seed ${seed}`);
  },
});
