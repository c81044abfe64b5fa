// deno-lint-ignore-file no-console
/**
 * How long until many announced workers are in the kernel. Runs in the lab, whose one processor
 * also does the announcing:
 *
 *     deno task lab -- deno run -A test/bench/discovery_bench.ts [INSTANCES] [ROUNDS]
 *
 * @module
 */
import { seededRandom } from "../fakes/random.ts";
import { fooConfig, fooKey, startKlb } from "../lab/scene.ts";
import { instances, Swarm } from "../lab/swarm.ts";
import { destinationsOf, type Director, Topology } from "../lab/topology.ts";

const count = Number(Deno.args[0] ?? 1000);
const rounds = Number(Deno.args[1] ?? 3);

/** Returns when there are so many destinations. */
async function until(director: Director, expected: number): Promise<void> {
  // Seldom: listing a large table takes time from what is measured.
  do await new Promise((resolve) => setTimeout(resolve, 50)); while (
    destinationsOf(director.table(), fooKey).length !== expected
  );
}

function line(what: string, times: readonly number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(0);
  console.log(
    `${what.padEnd(44)} ${at(0).padStart(8)} ${at(0.5).padStart(8)} ${at(1).padStart(8)}  ms`,
  );
}

const sending: number[] = [];
const announced: number[] = [];
const asked: number[] = [];
const gone: number[] = [];
for (let round = 0; round < rounds; round++) {
  await using topology = await Topology.create({ workers: 1 });
  const { director } = topology;
  const config = fooConfig("service");
  const klb = await startKlb(director, config);
  using swarm = new Swarm(topology.worker(1), seededRandom(round));
  const all = [...instances(count)];

  let start = performance.now();
  swarm.announce(all);
  sending.push(performance.now() - start);
  await until(director, count);
  announced.push(performance.now() - start);
  await klb.terminate();

  await director.ipvsadm(["-C"]);
  await startKlb(director, config);
  start = performance.now();
  await until(director, count);
  asked.push(performance.now() - start);

  start = performance.now();
  swarm.end(all.map(({ label, service }) => `${label}.${service}`), "goodbye");
  await until(director, 0);
  gone.push(performance.now() - start);
}
console.log(
  `\n${`${count} workers, ${rounds} rounds`.padEnd(30)} ${"min".padStart(14)}   median      max`,
);
line("sending their announcements", sending);
line("first announcement -> last destination", announced);
line("klb is ready -> last destination, by asking", asked);
line("first goodbye -> last one deleted", gone);
