/**
 * The lab itself: is what the other tests stand on really there?
 */
import { assert } from "../testing.ts";
import {
  destinationsOf,
  inLab,
  remainingNamespaces,
  tally,
  Topology,
  withoutModuleLoading,
} from "./topology.ts";

const ignore = !inLab;

Deno.test({
  name: "lab: IPVS masquerades TCP over IPv4 and IPv6 to real servers",
  ignore,
  async fn() {
    await using topology = await Topology.create();
    const { director, client, workers } = topology;
    await Promise.all(workers.map((each) => each.serveHttp(80)));
    await director.ipvsadm(
      ["-R"],
      [
        "-A -t 1.2.3.4:80 -s rr",
        ...workers.map((each) => `-a -t 1.2.3.4:80 -r ${each.ipv4}:80 -m`),
        "-A -t [2001:db8:1::4]:80 -s rr",
        ...workers.map((each) => `-a -t [2001:db8:1::4]:80 -r [${each.ipv6}]:80 -m`),
        "",
      ].join("\n"),
    );

    for (const url of ["http://1.2.3.4/", "http://[2001:db8:1::4]/"]) {
      const counts = await client.tally(url, 20);
      assert.deepEqual(Object.keys(counts).sort(), ["worker1", "worker2", "worker3"]);
      assert.deepEqual(Object.values(counts).sort(), [6, 7, 7]);
    }
    // Both witnesses, and both families, tell the same.
    const table = director.table();
    assert.deepEqual(
      table.map(({ key, scheduler, destinations }) => [key, scheduler, destinations.length]),
      [["tcp [2001:db8:1::4]:80", "rr", 3], ["tcp 1.2.3.4:80", "rr", 3]].sort((a, b) =>
        table.findIndex(({ key }) => key === a[0]) - table.findIndex(({ key }) => key === b[0])
      ),
    );
    const strip = (all: typeof table) =>
      all.map(({ key }) => [key, ...destinationsOf(all, key)]).sort();
    assert.deepEqual(strip(await director.ipvsadmTable()), strip(table));
    assert.deepEqual(destinationsOf(table, "tcp 1.2.3.4:80"), [
      "192.168.99.11:80",
      "192.168.99.12:80",
      "192.168.99.13:80",
    ]);
    assert.equal(table[0]!.destinations[0]!.forwarding, "masquerade");
  },
});

Deno.test({
  name: "lab: UDP echo answers through IPVS",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 2 });
    const { director, client, workers } = topology;
    await Promise.all(workers.map((each) => each.serveUdpEcho(53)));
    await director.ipvsadm(
      ["-R"],
      [
        "-A -u 1.2.3.4:53 -s rr",
        ...workers.map((each) => `-a -u 1.2.3.4:53 -r ${each.ipv4}:53 -m`),
        "-A -u [2001:db8:1::4]:53 -s rr",
        ...workers.map((each) => `-a -u [2001:db8:1::4]:53 -r [${each.ipv6}]:53 -m`),
        "",
      ].join("\n"),
    );
    for (const address of ["1.2.3.4", "2001:db8:1::4"]) {
      assert.deepEqual(tally(await client.datagrams(address, 53, 6)), {
        "worker1 hello": 3,
        "worker2 hello": 3,
      });
    }
  },
});

Deno.test({
  name: "lab: a long connection lives through the director, and shows when it is broken",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 1 });
    const { director, client } = topology;
    const worker = topology.worker(1);
    const server = await worker.serveHttp(80);
    await director.ipvsadm(["-R"], `-A -t 1.2.3.4:80\n-a -t 1.2.3.4:80 -r ${worker.ipv4}:80 -m\n`);
    const first = await client.openLong("http://1.2.3.4/");
    const second = await client.openLong("http://1.2.3.4/");
    assert.equal((await first.exchange()).body, "worker1");
    assert.equal((await second.exchange({ path: "/slow?ms=20" })).body, "worker1");
    assert.deepEqual(await server.stats(), { requests: 2, connections: 2 });
    assert.equal(director.table()[0]!.destinations[0]!.activeConnections, 2);
    await first.close("reset");
    await director.waitFor(
      "one connection is reset",
      ([service]) => service!.destinations[0]!.activeConnections === 1,
    );
    assert.equal(await second.alive(), true);
    // Without the destination the kernel drops the packets.
    await director.ipvsadm(["-d", "-t", "1.2.3.4:80", "-r", `${worker.ipv4}:80`]);
    assert.equal(await second.alive(300), false);
    await second.close();
  },
});

Deno.test({
  name: "lab: avahi announces, changes, says goodbye; a killed one does not",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 2 });
    const { director } = topology;
    const witness = await director.watch();
    const web = topology.worker(1).announce({
      name: "Web 1.0 & co",
      type: "_http._tcp",
      port: 80,
      txt: { path: "/x" },
    });
    const other = topology.worker(2).announce({ name: "two", type: "_http._tcp", port: 80 });
    const first = await witness.announcement("Web 1\\.0 & co._http._tcp.local");
    assert.ok(
      first.message.records.some((each) =>
        each.type === "SRV" && each.data === "worker1.local:80" && each.ttl === 120
      ),
    );
    assert.equal(first.interfaceIndex, director.link("service").index);
    assert.ok(
      ["192.168.99.11", "2001:db8:99::11"].includes(first.from) || /^fe80/.test(first.from),
    );
    await witness.announcement("two._http._tcp.local");

    const changed = Date.now();
    web.change({ name: "Web 1.0 & co", type: "_http._tcp", port: 81 });
    await witness.find(
      "the new port",
      (event) =>
        event.kind === "mdns" && event.at > changed && event.message.response &&
        event.message.records.some((each) => each.data === "worker1.local:81"),
    );

    const killed = Date.now();
    await other.kill();
    web.withdraw();
    await witness.goodbye("Web 1\\.0 & co._http._tcp.local", killed);
    await assert.rejects(witness.goodbye("two._http._tcp.local", killed, 300), /did not see/);
  },
});

Deno.test({
  name: "lab: python-zeroconf announces with the TTLs asked for, and says goodbye",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 1 });
    const witness = await topology.director.watch();
    const announced = await topology.worker(1).announceZeroconf(
      { name: "zero", type: "_http._tcp", port: 8080, txt: { a: "b" } },
      { hostTtl: 7, otherTtl: 9 },
    );
    const { message } = await witness.announcement("zero._http._tcp.local");
    const ttls = Object.fromEntries(message.records.map((each) => [each.type, each.ttl]));
    assert.equal(ttls.PTR, 9);
    assert.equal(ttls.SRV, 7);
    await announced.goodbye();
    await witness.goodbye("zero._http._tcp.local");
  },
});

Deno.test({
  name: "lab: the witness times changes of the table",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 1 });
    const { director } = topology;
    const witness = await director.watch();
    const before = Date.now();
    await director.ipvsadm(["-A", "-t", "1.2.3.4:80", "-s", "wlc"]);
    const { at, table } = await witness.table("the service", (table) => table.length === 1, before);
    assert.equal(table[0]!.key, "tcp 1.2.3.4:80");
    assert.ok(at >= before && at <= Date.now() + 1, `${before} <= ${at}`);
  },
});

Deno.test({
  name: "lab: several legs, chosen workers, links that go down",
  ignore,
  async fn() {
    await using topology = await Topology.create({
      workers: 2,
      vips: ["192.0.2.10"],
      legs: { service: { snooping: true }, storage: { workers: [2] } },
    });
    const { director, client } = topology;
    assert.deepEqual(director.links.map((each) => each.name), ["public", "service", "storage"]);
    assert.deepEqual(topology.worker(1).links.map((each) => each.name), ["service"]);
    assert.equal(topology.worker(2).link("storage").ipv4, "192.168.98.12");
    await topology.worker(2).serveHttp(8080);
    const url = "http://192.168.98.12:8080/peer";
    const { body } = await client.fetch(url);
    assert.match(body, /1\.2\.3\.100/);
    topology.worker(2).setLink("storage", "down");
    await assert.rejects(client.fetch(url, 300), /no answer/);
    topology.worker(2).setLink("storage", "up");
    assert.equal((await client.fetch(url, 5000)).status, 200);
    assert.match(await topology.worker(1).must("ip", ["-br", "address"]), /192\.168\.99\.11\/24/);
  },
});

Deno.test({
  name: "lab: schedulers load by themselves, unless that is prevented",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 0 });
    const { director } = topology;
    {
      using prevented = withoutModuleLoading();
      if (prevented) {
        // Another test may have loaded it.
        await director.run("modprobe", ["-r", "ip_vs_mh"]);
        await assert.rejects(director.ipvsadm(["-A", "-t", "1.2.3.4:80", "-s", "mh"]));
      }
    }
    await director.ipvsadm(["-A", "-t", "1.2.3.4:80", "-s", "mh"]);
    assert.equal(director.table()[0]!.scheduler, "mh");
  },
});

Deno.test({
  name: "lab: nothing of a topology is left",
  ignore,
  async fn() {
    const pids: number[] = [];
    {
      await using topology = await Topology.create();
      const { code, stdout } = await topology.client.run("echo", ["hi"]);
      assert.deepEqual([code, stdout], [0, "hi\n"]);
      await assert.rejects(
        topology.client.run("sleep", ["60"], { timeoutMs: 50 }),
        /did not end within 50 ms/,
      );
      pids.push(topology.client.spawn("sleep", ["60"]).pid);
      // A daemon that left its parent.
      const { stdout: daemon } = await topology.worker(1).run("/bin/sh", [
        "-c",
        "setsid sleep 60 >/dev/null 2>&1 & echo $!",
      ]);
      pids.push(Number(daemon));
      topology.worker(2).announce({ name: "x", type: "_http._tcp", port: 80 });
      assert.equal(remainingNamespaces().length, 6);
    }
    assert.deepEqual(remainingNamespaces(), []);
    for (const pid of pids) {
      // A killed orphan may wait to be reaped by the first process: a zombie is no process.
      const state = /^State:\s+(\S)/m.exec(
        await Deno.readTextFile(`/proc/${pid}/status`).catch(() => ""),
      );
      assert.ok(state === null || state[1] === "Z" || state[1] === "X", `${pid} is still there`);
    }
    assert.equal(/klb-topology/.test(Deno.readTextFileSync("/proc/mounts")), false);
  },
});
