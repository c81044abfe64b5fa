// deno-lint-ignore-file no-console
/**
 * How long from an mDNS packet to the kernel: avahi announces and withdraws, a witness with kernel
 * time stamps looks on. Runs in the lab: `deno task bench`.
 *
 * @module
 */
import { type Table, Topology } from "../lab/topology.ts";

const rounds = Number(Deno.args[0] ?? 15);
const key = "tcp 1.2.3.4:80";
const config = `service {\n  bind "1.2.3.4:80"\n  zeroconf_service "foo"\n}\n`;

const weight = (table: Table) => table.find((each) => each.key === key)?.destinations[0]?.weight;

function line(what: string, times: readonly number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(2);
  console.log(
    `${what.padEnd(44)} ${at(0).padStart(8)} ${at(0.5).padStart(8)} ${at(1).padStart(8)}  ms`,
  );
}

await using topology = await Topology.create({ workers: 2 });
const { director } = topology;
const klb = director.klb(["run", "--config", director.file("klb.conf", config)]);
await klb.waitForLog(/ready with/, 60_000);
const witness = await director.watch();
// A second instance keeps avahi running while the first comes and goes.
const worker = topology.worker(1);
worker.announce({ name: "other", type: "_other._tcp", port: 1 });
const appear: number[] = [];
const quiesce: number[] = [];
for (let round = 0; round < rounds; round++) {
  const since = Date.now();
  const name = `web ${round}`;
  const announced = worker.announce({ name, type: "_foo._tcp", port: 80 });
  const announcement = await witness.announcement(`${name}._foo._tcp.local`, since);
  const there = await witness.table("weight 1", (table) => weight(table) === 1, since);
  appear.push(there.at - announcement.at);
  const withdrawnAt = Date.now();
  announced.withdraw();
  const goodbye = await witness.goodbye(`${name}._foo._tcp.local`, withdrawnAt);
  const gone = await witness.table("weight 0", (table) => !weight(table), withdrawnAt);
  quiesce.push(gone.at - goodbye.at);
}
console.log(
  `\n${"latency over " + rounds + " rounds".padEnd(30)} ${"min".padStart(14)}   median      max`,
);
line("announcing packet -> destination in kernel", appear);
line("goodbye packet -> weight 0", quiesce);
