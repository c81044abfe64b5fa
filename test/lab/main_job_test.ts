/**
 * klb's job on a real kernel: real announcers, real traffic, and `ipvsadm` and /proc as witnesses.
 */
import { assert } from "../testing.ts";
import {
  type Director,
  type LabProcess,
  type Table,
  type TableDestination,
  Topology,
} from "./topology.ts";

const key = "tcp 1.2.3.4:80";

/** The example of the old daemon's documentation, to the letter. */
const oldExample = `service {
  bind "1.2.3.4:80"
  zeroconf_service "foo"
  zeroconf_interface "service"
}
`;

async function startKlb(
  director: Director,
  config = oldExample,
  name = "klb.conf",
): Promise<LabProcess> {
  const file = director.file(name, config);
  const klb = director.klb(["run", "--config", file]);
  await klb.waitForLog(/ready with the config/, 60_000);
  return klb;
}

/** `.11/1 .12/0`: the last byte of each destination's address and its weight. */
function weights(table: Table, service = key): string {
  const destinations = table.find((each) => each.key === service)?.destinations ?? [];
  return destinations.map(({ address, weight }) =>
    `${address.replace(/^.*(?=[.:])/, "")}/${weight}`
  )
    .sort().join(" ");
}

function destination(table: Table, suffix: string): TableDestination | undefined {
  return table.find((each) => each.key === key)?.destinations.find(({ address }) =>
    address.endsWith(suffix)
  );
}

const foo = (name: string, port = 80) => ({ name, type: "_foo._tcp", port });

Deno.test("the old README's config balances over workers that avahi and another responder announce", async () => {
  await using topology = await Topology.create({ workers: 3 });
  const { director, client } = topology;
  for (const worker of topology.workers) await worker.serveHttp(80);
  topology.worker(1).announce(foo("web 1"));
  await startKlb(director);
  topology.worker(2).announce(foo("Mr. Worker v2.0 (höher)"));
  await topology.worker(3).announceZeroconf(foo("web 3"));
  await director.waitFor("three destinations", (table) => weights(table) === ".11/1 .12/1 .13/1");
  const answers = await client.requests("http://1.2.3.4/", 21);
  const bodies = answers.map(({ body, error }) => error ?? body.trim());
  assert.deepEqual([...new Set(bodies.slice(0, 3))].sort(), ["worker1", "worker2", "worker3"]);
  bodies.forEach((body, i) => assert.equal(body, bodies[i % 3], `request ${i} goes round robin`));
  // The tables agree, and say what was asked for and nothing else.
  const dump = await director.ipvsadm(["-Sn"]);
  assert.deepEqual(dump.trim().split("\n").sort(), [
    "-A -t 1.2.3.4:80 -s rr",
    "-a -t 1.2.3.4:80 -r 192.168.99.11:80 -m -w 1",
    "-a -t 1.2.3.4:80 -r 192.168.99.12:80 -m -w 1",
    "-a -t 1.2.3.4:80 -r 192.168.99.13:80 -m -w 1",
  ]);
});

Deno.test("a worker that says goodbye gets no new connection, keeps the old ones, and goes when they end", async () => {
  await using topology = await Topology.create({ workers: 2 });
  const { director, client } = topology;
  for (const worker of topology.workers) await worker.serveHttp(80);
  const leaving = topology.worker(1).announce(foo("one"));
  topology.worker(2).announce(foo("two"));
  await startKlb(director);
  await director.waitFor("two destinations", (table) => weights(table) === ".11/1 .12/1");
  const connections = [];
  for (let i = 0; i < 4; i++) connections.push(await client.openLong("http://1.2.3.4/"));
  assert.equal(destination(director.table(), ".11")?.activeConnections, 2);
  await leaving.goodbye();
  await director.waitFor("quiesced", (table) => weights(table) === ".11/0 .12/1");
  assert.deepEqual(await client.tally("http://1.2.3.4/", 10), { worker2: 10 });
  const owners = [];
  for (const connection of connections) {
    const { body, error } = await connection.exchange();
    owners.push(error ?? body.trim());
  }
  assert.deepEqual(owners.sort(), ["worker1", "worker1", "worker2", "worker2"]);
  assert.equal(weights(director.table()), ".11/0 .12/1", "still draining");
  // One way each: the kernel keeps these connections for two minutes and for ten seconds.
  const [first, second, ...others] = connections;
  for (const connection of [first!, second!]) await connection.close("reset");
  for (const connection of others) await connection.close("fin");
  await director.waitFor("gone", (table) => weights(table) === ".12/1");
});

Deno.test("kill -9 and a restart lose no destination and no open connection; a flush never happens", async () => {
  await using topology = await Topology.create({ workers: 2 });
  const { director, client } = topology;
  for (const worker of topology.workers) await worker.serveHttp(80);
  await director.ipvsadm(["-A", "-t", "1.2.3.4:9999", "-s", "wlc"]);
  await director.ipvsadm(["-a", "-t", "1.2.3.4:9999", "-r", "192.168.99.77:1", "-g", "-w", "7"]);
  topology.worker(1).announce(foo("one"));
  topology.worker(2).announce(foo("two"));
  let klb = await startKlb(director);
  await director.waitFor("two destinations", (table) => weights(table) === ".11/1 .12/1");
  const before = await director.ipvsadm(["-Sn"]);
  const connections = [];
  for (let i = 0; i < 4; i++) connections.push(await client.openLong("http://1.2.3.4/"));

  const witness = await director.watch();
  for (const end of ["kill9", "terminate"] as const) {
    await klb[end]();
    assert.deepEqual(await client.tally("http://1.2.3.4/", 4), { worker1: 2, worker2: 2 });
    assert.equal(await director.ipvsadm(["-Sn"]), before, `after ${end}`);
    klb = await startKlb(director);
  }
  await klb.waitForLog(/browsing on service/);
  assert.equal(await director.ipvsadm(["-Sn"]), before, "after the last restart");
  for (const connection of connections) assert.ok(await connection.alive());
  for (const event of witness.events) {
    if (event.kind !== "table") continue;
    assert.equal(weights(event.table), ".11/1 .12/1", "never without a destination");
    assert.equal(weights(event.table, "tcp 1.2.3.4:9999"), ".77/7", "the foreign service stays");
  }
});

Deno.test("a restart removes what is no longer announced, once discovery had its chance", async () => {
  await using topology = await Topology.create({ workers: 1 });
  const { director } = topology;
  await director.ipvsadm(["-A", "-t", "1.2.3.4:80", "-s", "wlc"]);
  for (const stale of [11, 66]) {
    await director.ipvsadm(["-a", "-t", "1.2.3.4:80", "-r", `192.168.99.${stale}:80`, "-m"]);
  }
  topology.worker(1).announce(foo("one"));
  const klb = await startKlb(director);
  await director.waitFor("the configured scheduler", ([service]) => service?.scheduler === "rr");
  assert.equal(weights(director.table()), ".11/1 .66/1", "adopted");
  await director.waitFor("only what is announced", (table) => weights(table) === ".11/1", 60_000);
  await klb.waitForLog(/deleted .*192\.168\.99\.66:80: nobody announces it; it is idle/);
});

Deno.test("what others change in our services is repaired, what they change in theirs is not", async () => {
  await using topology = await Topology.create({ workers: 2 });
  const { director } = topology;
  for (const worker of topology.workers) worker.announce(foo(worker.name));
  await startKlb(director);
  const whole = (table: Table) => weights(table) === ".11/1 .12/1";
  await director.waitFor("two destinations", whole);
  await director.ipvsadm(["-d", "-t", "1.2.3.4:80", "-r", "192.168.99.11:80"]);
  await director.ipvsadm(["-e", "-t", "1.2.3.4:80", "-r", "192.168.99.12:80", "-m", "-w", "9"]);
  await director.waitFor("both repaired", whole);
  await director.ipvsadm(["-D", "-t", "1.2.3.4:80"]);
  await director.waitFor("the virtual service is back", whole);
  await director.ipvsadm(["-C"]);
  await director.ipvsadm(["-A", "-t", "1.2.3.4:9999"]);
  await director.waitFor("after a flush too", whole);
  assert.equal(weights(director.table(), "tcp 1.2.3.4:9999"), "");
});

Deno.test("two instances with one address and port are one destination that leaves with the last", async () => {
  await using topology = await Topology.create({ workers: 1 });
  const { director } = topology;
  const worker = topology.worker(1);
  const witness = await director.watch();
  await startKlb(director);
  const first = worker.announce(foo("first"));
  const second = worker.announce(foo("second"));
  await witness.announcement("first._foo._tcp.local");
  await witness.announcement("second._foo._tcp.local");
  await director.waitFor("one destination", (table) => weights(table) === ".11/1");
  first.withdraw();
  await witness.goodbye("first._foo._tcp.local");
  // The next goodbye is handled after this one; the table in between is the witness's to judge.
  const between = Date.now();
  second.withdraw();
  const last = await witness.goodbye("second._foo._tcp.local");
  await director.waitFor("gone", (table) => weights(table) === "");
  for (const event of witness.events) {
    if (event.kind !== "table" || event.at < between || event.at >= last.at) continue;
    assert.equal(weights(event.table), ".11/1");
  }
});

Deno.test("an instance that changes its port moves", async () => {
  await using topology = await Topology.create({ workers: 1 });
  const { director, client } = topology;
  await topology.worker(1).serveHttp(80);
  await topology.worker(1).serveHttp(8080);
  const announced = topology.worker(1).announce(foo("one"));
  await startKlb(director);
  const ports = (table: Table) =>
    (table.find((each) => each.key === key)?.destinations ?? []).map(({ port, weight }) =>
      `${port}/${weight}`
    ).join(" ");
  await director.waitFor("port 80", (table) => ports(table) === "80/1");
  announced.change(foo("one", 8080));
  await director.waitFor("port 8080", (table) => ports(table) === "8080/1", 60_000);
  assert.deepEqual(await client.tally("http://1.2.3.4/", 3), { worker1: 3 });
});

Deno.test("IPv6 virtual services get the IPv6 addresses", async () => {
  await using topology = await Topology.create({ workers: 2 });
  const { director, client } = topology;
  for (const worker of topology.workers) {
    await worker.serveHttp(80);
    worker.announce(foo(worker.name));
  }
  await startKlb(
    director,
    `[[service]]
bind = ["1.2.3.4:80", "[2001:db8:1::4]:80"]
zeroconf_service = "foo"
`,
    "klb.toml",
  );
  await director.waitFor(
    "both families",
    (table) =>
      weights(table) === ".11/1 .12/1" &&
      weights(table, "tcp [2001:db8:1::4]:80") === ":11/1 :12/1",
  );
  assert.deepEqual(await client.tally("http://[2001:db8:1::4]/", 4), { worker1: 2, worker2: 2 });
});

Deno.test("a crashed worker goes when nobody confirms its records, as soon as zeroconf_max_ttl says", async () => {
  await using topology = await Topology.create({ workers: 2 });
  const { director } = topology;
  const crashing = topology.worker(1).announce(foo("one"));
  topology.worker(2).announce(foo("two"));
  const klb = await startKlb(director, `zeroconf_max_ttl "5s"\n${oldExample}`);
  await director.waitFor("two destinations", (table) => weights(table) === ".11/1 .12/1");
  await crashing.kill();
  await director.waitFor("gone", (table) => weights(table) === ".12/1", 60_000);
  await klb.waitForLog(/192\.168\.99\.11:80: "one" was no longer announced on service/);
});

Deno.test("an interface that is not up yet is waited for", async () => {
  await using topology = await Topology.create({ workers: 1 });
  const { director } = topology;
  topology.worker(1).announce(foo("one"));
  director.setLink("service", "down");
  const klb = await startKlb(director);
  await klb.waitForLog(/interface service is down .*; waiting for it/);
  director.setLink("service", "up");
  await director.waitFor("found", (table) => weights(table) === ".11/1", 15_000);
});

Deno.test("systemd hears that klb is ready when the services are in the kernel", async () => {
  await using topology = await Topology.create({ workers: 0 });
  const { director } = topology;
  const path = director.file("notify", "").replace(/notify$/, "notify.socket");
  const listener = director.spawn("/usr/bin/python3", [
    "-u",
    "-c",
    `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);s.bind(sys.argv[1]);print("bound")
while True: print(repr(s.recv(4096).decode()))`,
    path,
  ]);
  await listener.waitForLog(/bound/);
  const file = director.file("klb.conf", oldExample);
  const klb = director.klb(["run", "--config", file], { env: { NOTIFY_SOCKET: path } });
  await listener.waitForLog(/READY=1/, 60_000);
  assert.deepEqual(director.table().map((each) => each.key), [key]);
  const { code } = await klb.terminate();
  assert.equal(code, 0);
  await listener.waitForLog(/STOPPING=1/);
});
