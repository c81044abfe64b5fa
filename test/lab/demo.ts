// deno-lint-ignore-file no-console
/**
 * `deno task demo`: klb at work on a real kernel, as a story in a terminal.
 *
 * Each step is checked; the exit status says whether every one of them really happened.
 *
 * @module
 */
import { type LabProcess, type Table, Topology } from "./topology.ts";

const config = `service {
  bind "1.2.3.4:80"
  zeroconf_service "foo"
  zeroconf_interface "service"
}

# A worker that crashes says no goodbye. Believe nobody longer than this:
zeroconf_max_ttl "6s"
`;

const key = "tcp 1.2.3.4:80";
const colours = Deno.env.get("NO_COLOR") ? "" : "\x1b";
const bold = (text: string) => colours ? `\x1b[1m${text}\x1b[0m` : text;
const dim = (text: string) => colours ? `\x1b[2m${text}\x1b[0m` : text;
const green = (text: string) => colours ? `\x1b[32m${text}\x1b[0m` : text;
const red = (text: string) => colours ? `\x1b[31m${text}\x1b[0m` : text;

const started = performance.now();
let steps = 0;
let failures = 0;

function chapter(title: string): void {
  const seconds = ((performance.now() - started) / 1000).toFixed(0).padStart(2);
  console.log(`\n${bold(`${++steps}. ${title}`)} ${dim(`(${seconds} s)`)}`);
}

function verdict(what: string, happened: boolean): void {
  console.log(`   ${happened ? green("✓") : red("✗")} ${what}`);
  if (!happened) failures++;
}

function show(text: string): void {
  console.log(dim(text.trimEnd().replace(/^/gm, "   | ")));
}

/** Waits for a table; one that does not come is a failed step, and the story goes on. */
async function expectTable(what: string, matches: (table: Table) => boolean, limit: number) {
  try {
    await director.waitFor(what, matches, limit);
    verdict(what, true);
  } catch {
    verdict(`${what} (waited ${limit / 1000} s)`, false);
  }
  show((await director.ipvsadm(["-Ln"])).split("\n").slice(1).join("\n"));
}

async function expectRequests(count: number, expected: Readonly<Record<string, number>>) {
  const answers = await client.tally("http://1.2.3.4/", count);
  const text = Object.entries(answers).sort().map(([body, n]) => `${n} by ${body.trim()}`);
  const same = JSON.stringify(Object.entries(answers).sort()) ===
    JSON.stringify(Object.entries(expected).sort());
  verdict(`${count} requests to http://1.2.3.4/ answered: ${text.join(", ")}`, same);
}

/** Lines of klb's log since the last call. */
function tellLog(): void {
  const lines = klb.stderr.split("\n");
  const fresh = lines.slice(told, -1);
  told = lines.length - 1;
  for (const line of fresh) console.log(dim(`   klb: ${line.replace(/^\S+ +\S+ +\S+ /, "")}`));
}
let told = 0;

const weights = (table: Table) =>
  (table.find((each) => each.key === key)?.destinations ?? [])
    .map(({ address, weight }) => `${address.split(".")[3]}/${weight}`).sort().join(" ");

await using topology = await Topology.create({ workers: 3 });
const { director, client } = topology;
const foo = (name: string) => ({ name, type: "_foo._tcp", port: 80 });

console.log(bold("klb on a real kernel"));
console.log(`
   client ──── director ────┬── worker1      each a network namespace,
 1.2.3.100    1.2.3.4:80    ├── worker2      each worker with an avahi-daemon
              IPVS, klb     └── worker3      and an HTTP server`);

chapter("The config: the old daemon's syntax, unchanged");
show(config);

chapter("klb starts; workers announce themselves");
for (const worker of topology.workers) await worker.serveHttp(80);
const announced = topology.workers.map((worker) => worker.announce(foo(worker.name)));
const klb: LabProcess = director.klb(["run", "--config", director.file("klb.conf", config)]);
await expectTable(
  "three destinations appear",
  (table) => weights(table) === "11/1 12/1 13/1",
  30_000,
);
tellLog();

chapter("Requests are spread");
await expectRequests(21, { worker1: 7, worker2: 7, worker3: 7 });

chapter("worker1 says goodbye while a connection to it is open");
const connections = [];
for (let i = 0; i < 3; i++) connections.push(await client.openLong("http://1.2.3.4/"));
await announced[0]!.goodbye();
await expectTable(
  "it has weight 0: no new connections",
  (table) => weights(table) === "11/0 12/1 13/1",
  2000,
);
await expectRequests(10, { worker2: 5, worker3: 5 });
const alive = await Promise.all(connections.map((connection) => connection.alive()));
verdict("the connection that was open still works", alive.every(Boolean));
tellLog();

chapter("worker3 loses its power: no goodbye, just silence");
await announced[2]!.kill();
topology.worker(3).setLink("service", "down");
await expectTable(
  "it is quiesced when its records run out",
  (table) => /(^| )12\/1/.test(weights(table)) && !weights(table).includes("13/1"),
  15_000,
);
await expectRequests(6, { worker2: 6 });
tellLog();

chapter("worker1 comes back");
topology.worker(1).announce(foo("worker1"));
await expectTable(
  "it has its weight back",
  (table) => weights(table).startsWith("11/1 12/1"),
  10_000,
);
await expectRequests(10, { worker1: 5, worker2: 5 });
tellLog();

chapter("klb itself is killed (kill -9) and started again");
const before = await director.ipvsadm(["-Sn"]);
await klb.kill9();
verdict("the kernel's table is what it was", await director.ipvsadm(["-Sn"]) === before);
await expectRequests(10, { worker1: 5, worker2: 5 });
const again = director.klb(["run", "--config", director.file("klb.conf", config)]);
try {
  await again.waitForLog(/ready with/, 20_000);
  verdict("the new klb has adopted it", await director.ipvsadm(["-Sn"]) === before);
} catch {
  verdict("the new klb is ready", false);
}
// Round robin gave one of the three to each worker; the last one's died with worker3.
const survivors = [];
for (const connection of connections) survivors.push(await connection.alive(1000));
verdict(
  "of the three connections opened in step 4, the two to living workers still work",
  survivors.filter(Boolean).length === 2,
);

const seconds = ((performance.now() - started) / 1000).toFixed(0);
console.log(
  failures === 0
    ? `\n${green(bold("Everything happened as told"))}, in ${seconds} s.`
    : `\n${red(bold(`${failures} of these steps did not happen as told.`))}`,
);
Deno.exitCode = failures === 0 ? 0 : 1;
