/** `klb browse` beside real announcers. */
import { assert } from "../testing.ts";
import { inLab, Topology } from "./topology.ts";

const ignore = !inLab;

Deno.test({
  name: "klb browse --once shows every announced instance of every service type",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 2 });
    const [first, second] = topology.workers;
    first!.announce({
      name: "Mr. Worker v2.0 (höher)",
      type: "_foo._tcp",
      port: 80,
      txt: { a: "b" },
    });
    await second!.announceZeroconf({ name: "web 2", type: "_http._tcp", port: 8080 });
    const klb = topology.director.klb(["browse", "--once"]);
    const { code, stdout, stderr } = await klb.finished;
    assert.equal(code, 0, stderr);
    const lines = stdout.trimEnd().split("\n").map((line) => line.replace(/ {2,}/g, "|"));
    assert.equal(lines[0], "TYPE|INSTANCE|INTERFACE|TTL|HOST AND ADDRESSES|TXT");
    assert.match(
      lines[1]!,
      /^_foo\._tcp\|Mr\. Worker v2\.0 \(höher\)\|service\|\d+ s\|worker1\.local:80 192\.168\.99\.11:80 .*\|a=b$/,
    );
    assert.match(lines[2]!, /^_http\._tcp\|web 2\|service\|\d+ s\|\S+:8080 192\.168\.99\.12:8080/);
    assert.equal(lines.length, 3);
  },
});

Deno.test({
  name: "klb browse --json is a stream of what happens",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 1 });
    const klb = topology.director.klb(["browse", "foo", "--json", "--interface", "service"]);
    await klb.waitForLog(/"event":"settled"/, 60_000);
    const announced = topology.worker(1).announce({ name: "one", type: "_foo._tcp", port: 80 });
    await klb.waitForLog(/"event":"found"/);
    await announced.goodbye();
    await klb.waitForLog(/"event":"lost".*"cause":"goodbye"/);
    const { code, stdout } = await klb.terminate();
    assert.equal(code, 0);
    const events = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
    const found = events.find(({ event }) => event === "found");
    assert.equal(found.name, "one._foo._tcp.local");
    assert.equal(found.interface, "service");
    assert.equal(found.targets[0].port, 80);
    assert.ok(found.targets[0].addresses.includes("192.168.99.11"));
    assert.ok(found.ttl > 60 && found.ttl <= 120, `${found.ttl} s`);
    assert.ok(events.every(({ time, service }) => Date.parse(time) > 0 && service === "_foo._tcp"));
  },
});

Deno.test({
  name: "klb browse --once with nothing there ends with 1",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 0 });
    const { code, stdout } = await topology.director.klb(["browse", "foo", "--once"]).finished;
    assert.equal(code, 1);
    assert.match(stdout, /^TYPE .*\n$/);
  },
});
