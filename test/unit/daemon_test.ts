import type { Config, ServiceConfig } from "../../src/config/schema.ts";
import { discoveryQueryOf, resyncInterval, runDaemon, StartError } from "../../src/daemon.ts";
import { IpvsClient } from "../../src/ipvs/client.ts";
import type { Log, LogLevel } from "../../src/log.ts";
import { type DiscoveryEvent, type DiscoveryQuery, queryKey } from "../../src/model/instance.ts";
import {
  destinationKey,
  noTunnel,
  type VirtualService,
  type VirtualServiceId,
} from "../../src/model/ipvs.ts";
import { FakeKernel } from "../fakes/fake_kernel.ts";
import { found, ip, lost, settled, target } from "../fakes/instances.ts";
import { assert } from "../testing.ts";

const virtualId: VirtualServiceId = {
  kind: "address",
  protocol: "tcp",
  address: ip("192.0.2.10"),
  port: 80,
};
const foreignId: VirtualServiceId = { ...virtualId, port: 9999 };

function serviceConfig(change: Partial<ServiceConfig> = {}): ServiceConfig {
  return {
    name: "foo",
    bind: [{ address: ip("192.0.2.10"), port: 80 }],
    scheduler: "rr",
    zeroconfService: "_foo._tcp",
    zeroconfDomain: "",
    zeroconfInterface: "",
    dnsSrv: "",
    drainTimeout: 300_000,
    source: { file: "test", line: 1, column: 1 },
    ...change,
  };
}

function virtualService(id: VirtualServiceId, scheduler = "rr"): VirtualService {
  return {
    id,
    scheduler,
    flags: 0,
    persistenceTimeout: 0,
    persistencePrefix: 32,
    persistenceEngine: "",
  };
}

const destination = (text: string, weight = 1) =>
  ({
    address: ip(text),
    port: 80,
    forwarding: "masquerade",
    weight,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnel: noTunnel,
  }) as const;

/** A daemon on a fake kernel, with discovery in the test's hands. */
class DaemonBench implements AsyncDisposable {
  readonly kernel: FakeKernel;
  readonly lines: { level: LogLevel; text: string }[] = [];
  readonly queries: DiscoveryQuery[] = [];
  readonly statuses: string[] = [];
  ready = false;
  discoveryClosed = false;
  /** What /proc/net/ip_vs_conn says. */
  connections = "";
  readonly #abort = new AbortController();
  /** Added to the real clock, so that a test need not wait. */
  #ahead = 0;
  #emit: ((event: DiscoveryEvent) => void) | undefined;
  #done: Promise<void> | undefined;

  constructor(kernel = new FakeKernel()) {
    this.kernel = kernel;
  }

  async start(services: readonly ServiceConfig[] = [serviceConfig()]): Promise<void> {
    const voice = (level: LogLevel) => (text: string) => this.lines.push({ level, text });
    const log: Log = {
      debug: voice("debug"),
      info: voice("info"),
      warning: voice("warning"),
      error: voice("error"),
    };
    const config: Config = {
      file: "test",
      zeroconfMaxTtl: null,
      dnsResolvers: [],
      services,
      warnings: [],
    };
    const ipvs = await IpvsClient.open(this.kernel.connect());
    this.#done = runDaemon({
      config,
      ipvs,
      readConnections: () => Promise.resolve(this.connections),
      log,
      now: () => performance.now() + this.#ahead,
      signal: this.#abort.signal,
      onReady: () => this.ready = true,
      onStatus: (text) => this.statuses.push(text),
      startDiscovery: (queries, _families, onEvent) => {
        this.queries.push(...queries);
        this.#emit = onEvent;
        return Promise.resolve({
          [Symbol.asyncDispose]: () => {
            this.discoveryClosed = true;
            return Promise.resolve();
          },
        });
      },
    }).finally(() => ipvs[Symbol.dispose]());
    let ended = false;
    this.#done.catch(() => {}).finally(() => ended = true);
    await this.until("ready", () => this.ready || ended);
    if (ended) await this.#done;
  }

  emit(...events: DiscoveryEvent[]): void {
    for (const event of events) this.#emit!(event);
  }

  /** Lets time pass for the daemon. Anything that wakes it makes it look at the clock. */
  advance(milliseconds: number): void {
    this.#ahead += milliseconds;
    this.emit(found("wake", [target(1, ["10.9.9.9"])], 99), lost("wake", "goodbye", 99));
  }

  weights(id: VirtualServiceId = virtualId): Record<string, number> {
    const entries = [...this.kernel.table().values()]
      .filter(({ service }) => JSON.stringify(service.id) === JSON.stringify(id))
      .flatMap(({ destinations }) => [...destinations.values()])
      .map(({ destination }) => [destinationKey(destination), destination.weight] as const)
      .filter(([key]) => key !== "10.9.9.9:1");
    return Object.fromEntries(entries.sort());
  }

  /** Waits for the loop to get there; a wait that never ends is the test runner's to report. */
  async until(what: string, reached: () => boolean): Promise<void> {
    for (let i = 0; i < 2000; i++) {
      if (reached()) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assert.fail(`${what} did not come true:\n${this.lines.map(({ text }) => text).join("\n")}`);
  }

  async expectWeights(expected: Record<string, number>): Promise<void> {
    const same = () => JSON.stringify(this.weights()) === JSON.stringify(expected);
    await this.until(`weights ${JSON.stringify(expected)}`, same);
  }

  logged(level: LogLevel, pattern: RegExp): string[] {
    return this.lines.filter((line) => line.level === level && pattern.test(line.text))
      .map(({ text }) => text);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop().catch(() => {});
  }
}

Deno.test("the configured virtual service appears, and what is announced becomes a destination", async () => {
  await using bench = new DaemonBench();
  await bench.start();
  assert.deepEqual(bench.queries.map(queryKey), ["_foo._tcp.local%"]);
  assert.equal(bench.kernel.table().get("tcp 192.0.2.10:80")?.service.scheduler, "rr");
  bench.emit(found("web 1", [target(80, ["10.0.0.1"])]));
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  assert.deepEqual(bench.logged("info", /10\.0\.0\.1/), [
    'foo: added tcp 192.0.2.10:80 -> 10.0.0.1:80 with weight 1: announced as "web 1" on eth2',
  ]);
});

Deno.test("a goodbye quiesces, and the destination goes when its connections have ended", async () => {
  await using bench = new DaemonBench();
  await bench.start();
  bench.emit(found("a", [target(80, ["10.0.0.1"])]), found("b", [target(80, ["10.0.0.2"])]));
  await bench.expectWeights({ "10.0.0.1:80": 1, "10.0.0.2:80": 1 });
  bench.kernel.setCounters(virtualId, { address: ip("10.0.0.1"), port: 80 }, {
    activeConnections: 1,
  });
  bench.emit(lost("a"));
  await bench.expectWeights({ "10.0.0.1:80": 0, "10.0.0.2:80": 1 });
  bench.advance(1500);
  bench.advance(1500);
  await bench.expectWeights({ "10.0.0.1:80": 0, "10.0.0.2:80": 1 });
  bench.kernel.setCounters(virtualId, { address: ip("10.0.0.1"), port: 80 }, {
    activeConnections: 0,
  });
  bench.advance(1500);
  await bench.expectWeights({ "10.0.0.2:80": 1 });
});

Deno.test("connections that the kernel keeps only for stray packets do not hold a destination", async () => {
  await using bench = new DaemonBench();
  await bench.start();
  bench.emit(found("a", [target(80, ["10.0.0.1"])]), settled());
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  const endpoint = { address: ip("10.0.0.1"), port: 80 };
  bench.kernel.setCounters(virtualId, endpoint, { inactiveConnections: 2 });
  bench.connections = "TCP C0000263 8D1C C000020A 0050 0A000001 0050 TIME_WAIT 104\n" +
    "TCP C0000263 8D1D C000020A 0050 0A000001 0050 FIN_WAIT 50\n";
  bench.emit(lost("a"));
  await bench.expectWeights({ "10.0.0.1:80": 0 });
  bench.advance(1500);
  bench.advance(1500);
  await bench.expectWeights({ "10.0.0.1:80": 0 });
  bench.connections = bench.connections.replace("FIN_WAIT", "CLOSE");
  bench.advance(1500);
  await bench.expectWeights({});
  assert.equal(bench.logged("info", /deleted .*its connections have ended/).length, 1);
});

Deno.test("the start adopts: nothing is flushed, foreign services are left alone", async () => {
  const kernel = new FakeKernel();
  for (const id of [virtualId, foreignId]) {
    kernel.putService(virtualService(id, "wlc"));
    kernel.putDestination(id, destination("10.0.0.7"));
    kernel.putDestination(id, destination("10.0.0.8"));
  }
  await using bench = new DaemonBench(kernel);
  await bench.start();
  assert.deepEqual(bench.weights(), { "10.0.0.7:80": 1, "10.0.0.8:80": 1 });
  assert.equal(kernel.table().get("tcp 192.0.2.10:80")?.service.scheduler, "rr");
  bench.emit(found("a", [target(80, ["10.0.0.7"])]));
  bench.advance(60_000);
  assert.deepEqual(bench.weights(), { "10.0.0.7:80": 1, "10.0.0.8:80": 1 }, "not settled yet");
  bench.emit(settled());
  await bench.expectWeights({ "10.0.0.7:80": 1, "10.0.0.8:80": 0 });
  bench.advance(2000);
  await bench.expectWeights({ "10.0.0.7:80": 1 });
  assert.deepEqual(bench.weights(foreignId), { "10.0.0.7:80": 1, "10.0.0.8:80": 1 });
  assert.equal(kernel.table().get("tcp 192.0.2.10:9999")?.service.scheduler, "wlc");
});

Deno.test("what others change is repaired at the next read, and reported", async () => {
  await using bench = new DaemonBench();
  await bench.start();
  bench.emit(found("a", [target(80, ["10.0.0.1"])]), settled());
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  bench.kernel.removeDestination(virtualId, { address: ip("10.0.0.1"), port: 80 });
  bench.advance(resyncInterval);
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  assert.equal(bench.logged("warning", /added .*behind klb's back/).length, 1);
  bench.kernel.removeService(virtualId);
  bench.advance(resyncInterval);
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  bench.kernel.putDestination(virtualId, destination("10.6.6.6", 5));
  bench.advance(resyncInterval);
  await bench.expectWeights({ "10.0.0.1:80": 1, "10.6.6.6:80": 0 });
});

Deno.test("an unchanged table is read and not written", async () => {
  await using bench = new DaemonBench();
  await bench.start();
  bench.emit(found("a", [target(80, ["10.0.0.1"])]), settled());
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  // The events that move the clock make and unmake a destination of their own first.
  bench.advance(2000);
  bench.advance(2000);
  await bench.until(
    "only the one",
    () => bench.kernel.table().get("tcp 192.0.2.10:80")?.destinations.size === 1,
  );
  bench.kernel.clearLog();
  await bench.until("a read", () => bench.kernel.reads > 1);
  assert.equal(bench.kernel.writes, 0);
});

Deno.test("a step that fails is told once, retried, and stops nothing else", async () => {
  await using bench = new DaemonBench();
  let refuse = true;
  bench.kernel.intercept = ({ command, object }) =>
    refuse && command === "new-destination" && object.includes("10.0.0.1") ? 12 : 0;
  await bench.start();
  bench.emit(found("a", [target(80, ["10.0.0.1"])]), found("b", [target(80, ["10.0.0.2"])]));
  await bench.expectWeights({ "10.0.0.2:80": 1 });
  await bench.until("retries", () => bench.logged("debug", /^again: /).length > 1);
  assert.equal(bench.logged("error", /10\.0\.0\.1:80: ENOMEM/).length, 1);
  assert.match(bench.statuses.at(-1)!, /1 failing/);
  refuse = false;
  await bench.expectWeights({ "10.0.0.1:80": 1, "10.0.0.2:80": 1 });
});

Deno.test("each bind gets the members of its own family", async () => {
  await using bench = new DaemonBench();
  const v6 = { address: ip("2001:db8::10"), port: 80 };
  await bench.start([serviceConfig({ bind: [{ address: ip("192.0.2.10"), port: 80 }, v6] })]);
  bench.emit(found("a", [target(80, ["10.0.0.1", "2001:db8::1"])]));
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  await bench.until(
    "v6",
    () => bench.kernel.table().get("tcp [2001:db8::10]:80")?.destinations.size === 1,
  );
});

Deno.test("two services of one type share the query and have members of their own", async () => {
  await using bench = new DaemonBench();
  const other = [{ address: ip("192.0.2.11"), port: 80 }];
  await bench.start([serviceConfig(), serviceConfig({ name: "bar", bind: other })]);
  assert.equal(bench.queries.length, 1);
  bench.emit(found("a", [target(80, ["10.0.0.1"])]));
  for (const key of ["tcp 192.0.2.10:80", "tcp 192.0.2.11:80"]) {
    await bench.until(key, () => bench.kernel.table().get(key)?.destinations.size === 1);
  }
});

Deno.test("stopping leaves the table as it is and ends discovery", async () => {
  await using bench = new DaemonBench();
  await bench.start();
  bench.emit(found("a", [target(80, ["10.0.0.1"])]));
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  bench.kernel.clearLog();
  await bench.stop();
  assert.deepEqual(bench.weights(), { "10.0.0.1:80": 1 });
  assert.equal(bench.kernel.writes, 0);
  assert.ok(bench.discoveryClosed);
});

Deno.test("with not one virtual service in the kernel the start fails, and says why", async () => {
  await using bench = new DaemonBench();
  bench.kernel.schedulers.delete("rr");
  await assert.rejects(bench.start(), StartError);
  assert.equal(bench.logged("error", /cannot add virtual service .*modprobe ip_vs_rr/).length, 1);
  assert.equal(bench.ready, false);
  assert.ok(bench.discoveryClosed);
});

Deno.test("one virtual service that cannot be set up does not keep the others from working", async () => {
  await using bench = new DaemonBench();
  bench.kernel.schedulers.delete("wlc");
  const other = [{ address: ip("192.0.2.11"), port: 80 }];
  await bench.start([serviceConfig(), serviceConfig({ bind: other, scheduler: "wlc" })]);
  assert.ok(bench.ready);
  bench.emit(found("a", [target(80, ["10.0.0.1"])]));
  await bench.expectWeights({ "10.0.0.1:80": 1 });
  bench.kernel.schedulers.add("wlc");
  await bench.until("wlc", () => bench.kernel.table().has("tcp 192.0.2.11:80"));
});

Deno.test("what is discovered: mDNS, a domain of unicast DNS, SRV records, or nothing", () => {
  const queryOf = (change: Partial<ServiceConfig>) => discoveryQueryOf(serviceConfig(change));
  const query = { serviceType: "_foo._tcp", domain: "local", interfaceName: "eth0" };
  for (const zeroconfDomain of ["", "local", "LOCAL."]) {
    assert.deepEqual(queryOf({ zeroconfDomain, zeroconfInterface: "eth0" }), query);
  }
  assert.deepEqual(queryOf({ zeroconfDomain: "Example.org.", zeroconfInterface: "eth0" }), {
    ...query,
    domain: "example.org",
    interfaceName: "",
  });
  const dnsSrv = "_http._tcp.web.service.consul";
  assert.deepEqual(queryOf({ zeroconfService: "", dnsSrv }), { srvName: dnsSrv });
  assert.equal(queryOf({ zeroconfService: "" }), undefined);
});
