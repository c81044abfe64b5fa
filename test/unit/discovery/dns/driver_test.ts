/**
 * The driver with real sockets, against a fake server on the loopback interface.
 */
import { createSocket } from "node:dgram";
import { DnsDriver } from "../../../../src/discovery/dns/driver.ts";
import type { DiscoveryEvent } from "../../../../src/model/instance.ts";
import { type Nameserver, parseNameserver } from "../../../../src/model/nameserver.ts";
import { FakeDnsServer } from "../../../fakes/dns_server.ts";
import { host, srv } from "../../../fakes/records.ts";
import { assert } from "../../../testing.ts";

const srvName = "_http._tcp.web.example.org";

/** A fake server on UDP and TCP of one port. */
class LoopbackServer extends FakeDnsServer implements AsyncDisposable {
  readonly #udp = createSocket("udp4");
  readonly #tcp = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #connections = new Set<Deno.Conn>();
  readonly #serving: Promise<void>;

  private constructor() {
    super();
    this.#udp.on("message", (query, { port, address }) => {
      const answer = this.answer(query, "udp");
      if (answer) this.#udp.send(answer, port, address);
    });
    this.#serving = this.#serve();
  }

  static async open(): Promise<LoopbackServer> {
    const server = new LoopbackServer();
    const { port } = server.#tcp.addr as Deno.NetAddr;
    await new Promise<void>((resolve) => server.#udp.bind(port, "127.0.0.1", resolve));
    return server;
  }

  get nameserver(): Nameserver {
    return parseNameserver(`127.0.0.1:${(this.#tcp.addr as Deno.NetAddr).port}`)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#tcp.close();
    for (const connection of this.#connections) connection.close();
    await this.#serving;
    await new Promise<void>((resolve) => this.#udp.close(() => resolve()));
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#tcp) {
      this.#connections.add(connection);
      const query = new Uint8Array(512);
      const length = await connection.read(query) ?? 2;
      const answer = this.answer(query.subarray(2, length), "tcp");
      if (!answer) continue;
      this.#connections.delete(connection);
      using open = connection;
      // In pieces, the first of them half of the length.
      await open.write(Uint8Array.of(answer.length >> 8));
      await open.write(Uint8Array.of(answer.length & 0xff));
      for (let sent = 0; sent < answer.length;) sent += await open.write(answer.subarray(sent));
    }
  }
}

/** Starts a driver; `until` resolves when an event or a notice is accepted. */
function start(
  resolvers: readonly Nameserver[],
  accept: (event: DiscoveryEvent | string) => boolean,
): { driver: DnsDriver; until: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const check = (what: DiscoveryEvent | string) => {
    if (accept(what)) resolve();
  };
  const driver = DnsDriver.start({
    queries: [{ srvName }],
    families: new Set(["ipv4"]),
    resolvers,
    onEvent: check,
    onNotice: (_, text) => check(text),
    now: () => performance.now(),
  });
  return { driver, until: promise };
}

Deno.test("servers are found over UDP, and over TCP where they are many", async () => {
  await using server = await LoopbackServer.open();
  for (const count of [1, 100]) {
    server.records = Array.from({ length: count }, (_, i) => [
      srv(srvName, `h${i}.example.org`, 80),
      host(`h${i}.example.org`, `192.0.2.${i}`),
    ]).flat();
    const found = new Set<string>();
    const { driver, until } = start([server.nameserver], (event) => {
      if (typeof event === "string") return false;
      if (event.type === "found") found.add(event.instance.name);
      return event.type === "settled";
    });
    await using _ended = driver;
    await until;
    assert.equal(found.size, count);
  }
  assert.ok(server.asked.some((question) => question.startsWith("tcp SRV")));
});

Deno.test("ended while it waits, over UDP or TCP, it leaves nothing behind", async () => {
  await using server = await LoopbackServer.open();
  server.silent = true;
  {
    await using _driver = start([server.nameserver], () => false).driver;
    while (server.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  server.records = Array.from({ length: 100 }, (_, i) => srv(srvName, `h${i}.example.org`, 80));
  server.silent = false;
  server.asked.length = 0;
  const answer = server.answer.bind(server);
  server.answer = (query, protocol) => {
    server.silent = protocol === "tcp";
    return answer(query, protocol);
  };
  await using _driver = start([server.nameserver], () => false).driver;
  while (server.asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
});

Deno.test("ended at once, it leaves nothing behind", async () => {
  await using _driver = start([parseNameserver("127.0.0.1:9")!], () => false).driver;
});

Deno.test("a server that cannot be reached is told", async () => {
  const seen: string[] = [];
  const { driver, until } = start([parseNameserver("255.255.255.255:9")!], (what) => {
    seen.push(String(what));
    return /cannot be reached/.test(String(what));
  });
  await using _ended = driver;
  await until;
  assert.equal(seen[0], "asking the DNS server 255.255.255.255:9");
});
