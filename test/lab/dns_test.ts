/**
 * Unicast discovery against a real DNS server (NSD), with the kernel's table as the witness.
 */
import { formatEndpoint } from "../../src/model/address.ts";
import { assert } from "../testing.ts";
import { type Director, type LabProcess, type Table, Topology, type Worker } from "./topology.ts";

/** Seconds; of every record, and of "there is none". */
const ttl = 2;
const service = "_foo._tcp";

/** A worker found by DNS-SD, in zone file syntax (RFC 1035 5.1). NSD makes names lower case. */
function instance(number: number, port = 80): string {
  const name = `worker\\032${number}.${service}`;
  return [
    `${service} PTR ${name}`,
    `${name} SRV 0 0 ${port} worker${number}`,
    `${name} TXT "number=${number}"`,
    `worker${number} A 192.168.99.${10 + number}`,
    `worker${number} AAAA 2001:db8:99::${10 + number}`,
  ].join("\n");
}

/** NSD on a worker, with one zone: example.org. */
class NameServer {
  readonly #worker: Worker;
  readonly #director: Director;
  readonly #config: string;
  #process: LabProcess | undefined;
  #serial = 0;

  constructor(worker: Worker, director: Director) {
    this.#worker = worker;
    this.#director = director;
    this.write([]);
    const directory = director.file("zone", "").replace(/\/zone$/, "");
    this.#config = director.file(
      `nsd-${worker.name}.conf`,
      `server:
  ip-address: ${worker.ipv4}
  ip-address: ${worker.ipv6}
  server-count: 1
  username: ""
  zonesdir: "${directory}"
  database: ""
  pidfile: "${directory}/nsd-${worker.name}.pid"
  xfrdfile: "${directory}/nsd-${worker.name}.xfrd"
  xfrdir: "${directory}"
  zonelistfile: "${directory}/nsd-${worker.name}.zones"
  round-robin: yes
  # A large table for rate limits takes seconds to clear here, and there is one client.
  rrl-size: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "example.org"
  zonefile: "zone-${worker.name}"
`,
    );
  }

  /** Serves these records from now on. */
  async serve(...records: string[]): Promise<void> {
    this.write(records);
    if (!this.#process) {
      this.#process = this.#worker.spawn("/usr/sbin/nsd", ["-d", "-V", "1", "-c", this.#config]);
      await this.#process.waitForLog(/nsd started/);
    } else {
      this.#process.signal("SIGHUP");
    }
  }

  write(records: readonly string[]): void {
    const head = `$ORIGIN example.org.\n$TTL ${ttl}\n` +
      `@ SOA ns admin ${++this
        .#serial} 3600 600 86400 ${ttl}\n@ NS ns\nns A ${this.#worker.ipv4}\n`;
    this.#director.file(`zone-${this.#worker.name}`, head + records.join("\n") + "\n");
  }

  async kill(): Promise<void> {
    await this.#process!.terminate();
    this.#process = undefined;
  }
}

function startKlb(director: Director, config: string): Promise<LabProcess> {
  return ready(director.klb(["run", "--config", director.file("klb.toml", config)]));
}

async function ready(klb: LabProcess): Promise<LabProcess> {
  await klb.waitForLog(/ready with the config/, 20_000);
  return klb;
}

/** Waits until these are the destinations: address, port and weight, `192.168.99.11:80/1`. */
async function becomes(
  director: Director,
  expected: readonly string[],
  key = "tcp 1.2.3.4:80",
): Promise<void> {
  const wanted = [...expected].sort().join(" ");
  const shown = (table: Table) => {
    const destinations = table.find((each) => each.key === key)?.destinations ?? [];
    return destinations.map((each) => `${formatEndpoint(each)}/${each.weight}`).sort().join(" ");
  };
  await director.waitFor(wanted || "nothing", (table) => shown(table) === wanted, 20_000);
}

Deno.test("a DNS-SD domain: workers come, move and go with their records; the server may die", async () => {
  await using topology = await Topology.create({ workers: 3 });
  const { director, client } = topology;
  for (const worker of topology.workers) await worker.serveHttp(80);
  const dns = new NameServer(topology.worker(3), director);
  await dns.serve(instance(1), instance(2));
  const klb = await startKlb(
    director,
    `dns_resolvers = ["${topology.worker(3).ipv4}"]

[[service]]
bind = ["1.2.3.4:80", "[2001:db8:1::4]:80"]
zeroconf_service = "foo"
zeroconf_domain = "example.org"
drain_timeout = "1s"
`,
  );
  await becomes(director, ["192.168.99.11:80/1", "192.168.99.12:80/1"]);
  await becomes(
    director,
    ["[2001:db8:99::11]:80/1", "[2001:db8:99::12]:80/1"],
    "tcp [2001:db8:1::4]:80",
  );
  await klb.waitForLog(/added .*192\.168\.99\.11:80 .*announced as "worker 1" on dns/);
  assert.deepEqual(await client.tally("http://1.2.3.4/", 10), { worker1: 5, worker2: 5 });

  await dns.serve(instance(1), instance(2), instance(3));
  await becomes(director, ["192.168.99.11:80/1", "192.168.99.12:80/1", "192.168.99.13:80/1"]);

  await dns.serve(instance(2), instance(3));
  await becomes(director, ["192.168.99.11:80/0", "192.168.99.12:80/1", "192.168.99.13:80/1"]);
  await becomes(director, ["192.168.99.12:80/1", "192.168.99.13:80/1"]);
  await klb.waitForLog(/quiesced .*192\.168\.99\.11:80: DNS no longer lists "worker 1"/);

  await dns.serve(instance(2, 8080), instance(3));
  await becomes(director, ["192.168.99.12:8080/1", "192.168.99.13:80/1"]);

  await dns.kill();
  await klb.waitForLog(/no resolver answers for .*what it last was is kept/, 20_000);
  await becomes(director, ["192.168.99.12:8080/1", "192.168.99.13:80/1"]);
  await dns.serve(instance(1), instance(2, 8080), instance(3));
  await klb.waitForLog(/every name is answered again/, 20_000);
  await becomes(director, ["192.168.99.11:80/1", "192.168.99.12:8080/1", "192.168.99.13:80/1"]);

  await dns.serve();
  await becomes(director, []);
});

Deno.test("SRV names: 150 servers in an answer that only TCP can carry, over IPv6", async () => {
  await using topology = await Topology.create({ workers: 1 });
  const { director } = topology;
  const [worker] = topology.workers;
  const servers = Array.from({ length: 150 }, (_, i) => 100 + i);
  const records = (numbers: number[]) =>
    numbers.flatMap((
      n,
    ) => [`_http._tcp.web SRV 1 5 8080 h${n}.web`, `h${n}.web A 192.168.99.${n}`]);
  const shown = (numbers: number[]) => numbers.map((n) => `192.168.99.${n}:8080/1`);
  const dns = new NameServer(worker!, director);
  await dns.serve(...records(servers));
  await startKlb(
    director,
    `dns_resolvers = "[${worker!.ipv6}]:53"

[[service]]
bind = "1.2.3.4:80"
dns_srv = "_http._tcp.web.example.org"
`,
  );
  await becomes(director, shown(servers));
  await dns.serve(...records(servers.slice(0, 10)));
  await becomes(director, shown(servers.slice(0, 10)));
});

Deno.test("a resolver that does not answer is passed over; resolv.conf is followed", async () => {
  await using topology = await Topology.create({ workers: 2 });
  const { director } = topology;
  const [first, second] = topology.workers.map((worker) => new NameServer(worker, director));
  const resolvers = (...addresses: string[]) =>
    director.file("resolv.conf", addresses.map((each) => `nameserver ${each}\n`).join(""));
  // Nobody has this address.
  const file = resolvers("192.168.99.99", topology.worker(1).ipv4);
  await first!.serve(instance(1));
  await second!.serve(instance(2));
  const config = director.file(
    "klb.toml",
    '[[service]]\nbind = "1.2.3.4:80"\nzeroconf_service = "foo"\nzeroconf_domain = "example.org"\n',
  );
  const main = new URL("../../main.ts", import.meta.url).pathname;
  const run = [Deno.execPath(), "run", "-A", "--no-prompt", main, "run", "--config", config];
  const inView = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
  await ready(director.spawn("unshare", ["--mount", "sh", "-c", inView, file, ...run]));
  await becomes(director, ["192.168.99.11:80/1"]);
  resolvers(topology.worker(2).ipv4);
  await becomes(director, ["192.168.99.12:80/1"]);
});
