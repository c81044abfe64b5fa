/**
 * Unicast DNS discovery in virtual time, against fake servers.
 */
import { maxInstances } from "../../../../src/discovery/dns/browser.ts";
import { decodeMessage, encodeMessage } from "../../../../src/discovery/dns/message.ts";
import type { ResourceRecord } from "../../../../src/discovery/dns/message.ts";
import { resolverSettings } from "../../../../src/discovery/dns/resolv_conf.ts";
import {
  longestInterval,
  longestNegativeInterval,
} from "../../../../src/discovery/dns/resolver.ts";
import { parseNameserver } from "../../../../src/model/nameserver.ts";
import { cname } from "../../../fakes/dns_server.ts";
import { host, ptr, srv, txt } from "../../../fakes/records.ts";
import { assert } from "../../../testing.ts";
import { DnsScene, fooQuery } from "./scene.ts";

const service = "_foo._tcp.example.org";
const srvQuery = { srvName: "_http._tcp.web.example.org" };

/** A DNS-SD instance with one server, all with one TTL in seconds. */
function worker(number: number, ttl = 10, port = 80): ResourceRecord[] {
  const name = `w${number}.${service}`;
  return [
    ptr(service, name, ttl),
    srv(name, `host${number}.example.org`, port, ttl),
    txt(name, [`number=${number}`], ttl),
    host(`host${number}.example.org`, `192.0.2.${10 + number}`, ttl),
  ];
}

/** A server listed by SRV records. */
function server(number: number, ttl = 10, port = 80): ResourceRecord[] {
  return [
    srv(srvQuery.srvName, `host${number}.example.org`, port, ttl, 1, number),
    host(`host${number}.example.org`, `192.0.2.${10 + number}`, ttl),
  ];
}

Deno.test("DNS-SD: PTR, then SRV and TXT, then the addresses; settled when all are there", () => {
  const scene = new DnsScene();
  scene.server.records = [...worker(1), ...worker(2)];
  scene.browser.browse(fooQuery, 0);
  scene.run(1000);
  assert.deepEqual(scene.told(), [
    "found w1 192.0.2.11:80",
    "found w2 192.0.2.12:80",
    "settled",
  ]);
  const asked = scene.asked();
  assert.equal(asked[0], "udp PTR _foo._tcp.example.org");
  assert.deepEqual(asked.slice(1).sort(), [
    "udp A host1.example.org",
    "udp A host2.example.org",
    "udp SRV w1._foo._tcp.example.org",
    "udp SRV w2._foo._tcp.example.org",
    "udp TXT w1._foo._tcp.example.org",
    "udp TXT w2._foo._tcp.example.org",
  ]);
  assert.equal(scene.open.size, 0, "no socket stays open");
});

Deno.test("an instance carries what the pool needs", () => {
  const scene = new DnsScene({ families: ["ipv4", "ipv6"] });
  const name = `Mr\\. Worker._foo._tcp.example.org`;
  scene.server.records = [
    ptr(service, name),
    srv(name, "b.example.org", 81, 10, 2, 7),
    srv(name, "a.example.org", 80, 10, 1, 5),
    txt(name, ["Path=/x", "flag"]),
    host("a.example.org", "192.0.2.1"),
    host("a.example.org", "2001:db8::1"),
    host("b.example.org", "192.0.2.2"),
  ];
  scene.browser.browse(fooQuery, 0);
  scene.run(1000);
  const found = scene.events.filter((event) => event.type === "found").at(-1);
  assert.deepEqual(found?.instance, {
    name,
    label: "Mr. Worker",
    interfaceIndex: 0,
    interfaceName: "dns",
    targets: [
      {
        host: "a.example.org",
        port: 80,
        priority: 1,
        weight: 5,
        addresses: ["192.0.2.1", "2001:db8::1"],
      },
      { host: "b.example.org", port: 81, priority: 2, weight: 7, addresses: ["192.0.2.2"] },
    ],
    txt: new Map([["path", "/x"], ["flag", null]]),
  });
  assert.equal(found.query, "_foo._tcp.example.org%");
});

Deno.test("SRV names: each record is an instance with its priority and weight", () => {
  const scene = new DnsScene();
  scene.server.records = [...server(1), ...server(2, 10, 8080)];
  scene.browser.browse(srvQuery, 0);
  scene.run(1000);
  const instances = scene.events.flatMap((event) => event.type === "found" ? [event.instance] : []);
  assert.deepEqual(instances.map(({ label, targets }) => [label, targets]), [
    ["host1.example.org:80", [{
      host: "host1.example.org",
      port: 80,
      priority: 1,
      weight: 1,
      addresses: ["192.0.2.11"],
    }]],
    ["host2.example.org:8080", [{
      host: "host2.example.org",
      port: 8080,
      priority: 1,
      weight: 2,
      addresses: ["192.0.2.12"],
    }]],
  ]);
  assert.equal(scene.told().at(-1), "settled");
  assert.ok(!scene.asked().some((question) => question.includes("TXT")));
});

Deno.test("a target of . and port 0 are no servers (RFC 2782)", () => {
  const scene = new DnsScene();
  scene.server.records = [srv(srvQuery.srvName, "", 80), srv(srvQuery.srvName, "x.org", 0)];
  scene.browser.browse(srvQuery, 0);
  scene.run(1000);
  assert.deepEqual(scene.told(), ["settled"]);
});

Deno.test("what changes is seen when the TTL is over, and questions rest until then", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1);
  scene.browser.browse(fooQuery, 0);
  scene.run(9900);
  scene.told();
  assert.equal(scene.asked().length, 4);
  scene.server.records = [...worker(1, 10, 81), ...worker(2)];
  scene.run(1100);
  assert.deepEqual(scene.told().sort(), ["found w1 192.0.2.11:81", "found w2 192.0.2.12:80"]);
  scene.server.records = worker(2);
  scene.run(11_000);
  assert.deepEqual(scene.told(), ["lost w1 withdrawn"]);
});

Deno.test("an address, a TXT record and an SRV record may change alone", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1);
  scene.browser.browse(fooQuery, 0);
  scene.run(1000);
  scene.told();
  const [pointer, service, ,] = worker(1);
  const text = txt(service!.name, ["number=one"], 10);
  scene.server.records = [pointer!, service!, text, host("host1.example.org", "192.0.2.99", 10)];
  scene.run(10_500);
  const [first, last] = scene.events.flatMap((e) => e.type === "found" ? [e.instance] : []);
  assert.equal(first?.txt.get("number"), "one");
  assert.deepEqual(last?.targets[0]?.addresses, ["192.0.2.99"]);
});

Deno.test("an instance that moves to another host stays until the new address is known", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1);
  scene.browser.browse(fooQuery, 0);
  scene.run(5000);
  scene.told();
  scene.server.records = [
    ptr(service, `w1.${service}`, 10),
    srv(`w1.${service}`, "other.example.org", 80, 10),
    txt(`w1.${service}`, ["number=1"], 10),
    host("other.example.org", "192.0.2.77"),
  ];
  scene.run(6000);
  assert.deepEqual(scene.told(), ["found w1 192.0.2.77:80"]);
});

Deno.test("when every server is replaced at once, the new come before the old go", () => {
  const scene = new DnsScene();
  scene.server.records = [...server(1), ...server(2)];
  scene.browser.browse(srvQuery, 0);
  scene.run(5000);
  scene.told();
  scene.server.records = [...server(3), ...server(4)];
  scene.run(6000);
  assert.deepEqual(scene.told(), [
    "found host3.example.org:80 192.0.2.13:80",
    "found host4.example.org:80 192.0.2.14:80",
    "lost host1.example.org:80 withdrawn",
    "lost host2.example.org:80 withdrawn",
  ]);
});

Deno.test("a new server whose address nobody gives does not hold up for ever those that leave", () => {
  const scene = new DnsScene();
  scene.server.records = server(1);
  scene.browser.browse(srvQuery, 0);
  scene.run(5000);
  scene.told();
  scene.server.records = server(2);
  scene.server.tamper = (answer) => {
    const isAddress = decodeMessage(answer)!.questions[0]!.name.startsWith("host");
    return isAddress ? undefined : answer;
  };
  scene.run(6000);
  assert.deepEqual(scene.told(), []);
  scene.run(6000);
  assert.deepEqual(scene.told(), ["lost host1.example.org:80 withdrawn"]);
});

Deno.test("a list that is gone altogether, or has no address, may be a fault: expired", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1);
  scene.browser.browse(fooQuery, 0);
  scene.run(5000);
  scene.server.records = worker(1).slice(0, 3);
  scene.run(7000);
  assert.equal(scene.told().at(-1), "lost w1 expired");
  scene.server.records = worker(1);
  scene.run(70_000);
  assert.deepEqual(scene.told(), ["found w1 192.0.2.11:80"]);
  scene.server.records = [];
  scene.run(11_000);
  assert.deepEqual(scene.told(), ["lost w1 expired"]);
});

Deno.test("whose address ends before its place in the list was removed all the same", () => {
  const scene = new DnsScene();
  const [pointer, ...others] = worker(1);
  scene.server.records = [{ ...pointer!, ttl: 3600 }, ...others, ...worker(2)];
  scene.browser.browse(fooQuery, 0);
  scene.run(60_000);
  scene.told();
  scene.server.records = worker(2);
  scene.run(11_500);
  assert.deepEqual(scene.told(), ["lost w1 withdrawn"]);
});

Deno.test("whose address is gone while nobody tells the list: expired", () => {
  const scene = new DnsScene();
  const [pointer, ...others] = worker(1);
  scene.server.records = [{ ...pointer!, ttl: 3600 }, ...others];
  scene.browser.browse(fooQuery, 0);
  scene.run(60_000);
  scene.told();
  scene.server.records = [];
  scene.server.tamper = (answer) =>
    decodeMessage(answer)!.questions[0]!.name === service ? undefined : answer;
  scene.asked();
  scene.run(17_000);
  assert.equal(scene.told().at(-1), "lost w1 expired");
  assert.ok(scene.asked().includes(`udp PTR ${service}`));
});

for (
  const [name, fail] of [
    ["is silent", (server) => server.silent = true],
    ["says SERVFAIL", (server) => server.rcode = 2],
    ["says REFUSED", (server) => server.rcode = 5],
    ["sends malformed answers", (server) => server.tamper = cutAnswers],
    ["refers to others", (server) => server.tamper = refer],
  ] as [string, (server: DnsScene["server"]) => void][]
) {
  Deno.test(`a resolver that ${name} costs no member, and a person is told`, () => {
    const scene = new DnsScene();
    scene.server.records = [...worker(1), ...worker(2)];
    scene.browser.browse(fooQuery, 0);
    scene.run(5000);
    assert.equal(scene.told().at(-1), "settled");
    fail(scene.server);
    scene.run(3600_000);
    assert.deepEqual(scene.told(), []);
    const warnings = scene.notices.filter(({ level }) => level === "warning");
    assert.match(warnings[0]!.text, /^no resolver answers for PTR _foo.* is kept$/);
    assert.ok(warnings.length <= 3, "a few examples");
    Object.assign(scene.server, { silent: false, rcode: 0, tamper: (bytes: Uint8Array) => bytes });
    scene.server.records = worker(2);
    scene.run(31_000);
    assert.deepEqual(scene.told(), ["lost w1 withdrawn"]);
    assert.equal(scene.notices.at(-1)!.text, "every name is answered again");
  });
}

/** Announces one record more than there is. */
function cutAnswers(answer: Uint8Array): Uint8Array {
  const cut = answer.slice();
  cut[7]!++;
  return cut;
}

/** Knows nothing, but who might. */
function refer(answer: Uint8Array): Uint8Array {
  const { id, questions } = decodeMessage(answer)!;
  const name = "example.org";
  const data = { kind: "opaque", bytes: Uint8Array.of(1, 0x61, 0) } as const;
  const ns = { name, type: 2, class: 1, flush: false, ttl: 60, data };
  return encodeMessage({ id, response: true, questions, authorities: [ns] });
}

Deno.test("without any answer nothing settles; with the first complete one it does", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1);
  scene.server.silent = true;
  scene.browser.browse(fooQuery, 0);
  scene.run(60_000);
  assert.deepEqual(scene.told(), []);
  assert.match(scene.notices.at(-1)!.text, /asked for PTR/);
  assert.ok(scene.notices.some(({ text }) => /nothing is known of it yet$/.test(text)));
  scene.server.silent = false;
  scene.run(31_000);
  assert.deepEqual(scene.told(), ["found w1 192.0.2.11:80", "settled"]);
});

Deno.test("one host that nobody answers for keeps the rest from settling, not from serving", () => {
  const scene = new DnsScene();
  scene.server.records = [...worker(1), ...worker(2)];
  scene.server.tamper = (answer) =>
    decodeMessage(answer)!.questions[0]!.name.startsWith("host2") ? undefined : answer;
  scene.browser.browse(fooQuery, 0);
  scene.run(60_000);
  assert.deepEqual(scene.told(), ["found w1 192.0.2.11:80"]);
});

Deno.test("failures: the tries of a round, then pauses that double, with jitter, up to 30 s", () => {
  const scene = new DnsScene();
  scene.server.silent = true;
  scene.browser.browse(srvQuery, 0);
  scene.run(300_000);
  const times = scene.sent.map((line) => Number(line.split(" ")[0]));
  assert.deepEqual(times.slice(0, 2), [0, 2000]);
  const pauses = times.filter((_, i) => i % 2 === 0).slice(1)
    .map((at, i) => at - times[2 * i + 1]! - 2000);
  pauses.slice(0, 8).forEach((pause, i) => {
    const longest = Math.min(1000 * 2 ** i, 30_000);
    assert.ok(pause >= longest / 2 - 1 && pause <= longest + 1, `pause ${i}: ${pause}`);
  });
});

Deno.test("with a short TTL a resolver's recovery is seen as soon as any change", () => {
  const scene = new DnsScene();
  scene.server.records = server(1, 2);
  scene.browser.browse(srvQuery, 0);
  scene.run(1000);
  scene.told();
  scene.server.silent = true;
  scene.run(600_000);
  scene.server.silent = false;
  scene.server.records = [...server(1, 2), ...server(2, 2)];
  scene.run(4500);
  assert.deepEqual(scene.told(), ["found host2.example.org:80 192.0.2.12:80"]);
});

Deno.test("resolvers rotate: who fails is passed over, and not asked first again", () => {
  const scene = new DnsScene({ servers: ["192.0.2.1", "192.0.2.2"] });
  for (const server of scene.servers.values()) server.records = worker(1);
  scene.server.silent = true;
  scene.browser.browse(fooQuery, 0);
  scene.run(5000);
  assert.deepEqual(scene.told(), ["found w1 192.0.2.11:80", "settled"]);
  assert.deepEqual(scene.sent, [
    "0 192.0.2.1 udp",
    "2000 192.0.2.2 udp",
    ...new Array<string>(2).fill("2001 192.0.2.2 udp"),
    "2002 192.0.2.2 udp",
  ]);
  assert.ok(scene.notices.every(({ level }) => level === "debug"));
});

Deno.test("a resolver that refuses is followed by the next, no sooner than a second later", () => {
  const scene = new DnsScene({ servers: ["192.0.2.1", "[2001:db8::1]:54"] });
  scene.server.rcode = 5;
  scene.browser.browse(srvQuery, 0);
  scene.run(2500);
  assert.deepEqual(scene.sent, ["0 192.0.2.1 udp", "1000 2001:db8::1:54 udp"]);
});

Deno.test("other resolvers can take over", () => {
  const scene = new DnsScene({ servers: ["192.0.2.1", "192.0.2.2"] });
  for (const server of scene.servers.values()) server.records = worker(1);
  scene.browser.configure(resolverSettings([parseNameserver("192.0.2.2")!]), 0);
  scene.browser.browse(fooQuery, 0);
  scene.run(30_000);
  assert.ok(scene.sent.every((line) => line.includes("192.0.2.2")));
  scene.browser.configure(resolverSettings([parseNameserver("192.0.2.1")!]), scene.now);
  scene.sent.length = 0;
  scene.run(30_000);
  assert.ok(scene.sent.length > 0 && scene.sent.every((line) => line.includes("192.0.2.1")));
});

Deno.test("what was unanswered is asked again soon after the first answer", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1, 3600);
  scene.server.silent = true;
  scene.browser.browse(srvQuery, 0);
  scene.run(290_000);
  scene.browser.browse(fooQuery, scene.now);
  scene.server.records.push(...server(5));
  scene.server.silent = false;
  scene.run(2100);
  assert.ok(scene.told().includes("found host5.example.org:80 192.0.2.15:80"));
});

Deno.test("never more than one query a second for a question, even with TTL 0", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1, 0);
  scene.server.negative = 0;
  scene.browser.browse(fooQuery, 0);
  scene.browser.browse(srvQuery, 0);
  scene.run(10_500);
  const counts = new Map<string, number>();
  for (const question of scene.asked()) counts.set(question, (counts.get(question) ?? 0) + 1);
  for (const [question, count] of counts) assert.ok(count >= 8 && count <= 11, question);
  assert.deepEqual(scene.told().sort(), ["found w1 192.0.2.11:80", "settled", "settled"]);
});

Deno.test("a TTL of days is looked at every hour; one with the top bit is 0", () => {
  const scene = new DnsScene();
  scene.server.records = server(1, 7 * 86_400);
  scene.browser.browse(srvQuery, 0);
  scene.run(longestInterval - 1000);
  assert.equal(scene.asked().length, 2);
  scene.run(2000);
  assert.equal(scene.asked().length, 2);
  scene.server.records = server(1, 0x80000000);
  scene.run(longestInterval + 2000);
  assert.ok(scene.asked().length >= 2);
});

Deno.test("that there is none is believed as long as the zone says (RFC 2308), within limits", () => {
  for (
    const [minimum, from, to] of [
      [60, 60_000, 60_100],
      [0, 1000, 1100],
      [86_400, 300_000, 300_100],
      [undefined, 10_000, 10_100],
    ] as const
  ) {
    const scene = new DnsScene();
    scene.server.negative = minimum;
    scene.browser.browse(srvQuery, 0);
    scene.run(longestNegativeInterval + 1000);
    assert.equal(scene.told()[0], "settled");
    const second = Number(scene.sent[1]!.split(" ")[0]);
    assert.ok(second >= from && second <= to + 10, `${minimum}: ${second}`);
  }
});

Deno.test("what does not fit a datagram comes over TCP", () => {
  const scene = new DnsScene();
  const all = Array.from({ length: 200 }, (_, i) => i + 1);
  scene.server.records = all.flatMap((i) => [
    srv(srvQuery.srvName, `h${i}.example.org`, 80),
    host(`h${i}.example.org`, `198.51.100.${i}`),
  ]);
  scene.browser.browse(srvQuery, 0);
  scene.run(1000);
  assert.deepEqual(scene.asked().slice(0, 2), [
    "udp SRV _http._tcp.web.example.org",
    "tcp SRV _http._tcp.web.example.org",
  ]);
  assert.equal(scene.told().length, 201);
  assert.equal(scene.browser.counters.truncated, 1);
});

Deno.test("additional records of the domain are used, and never take anything away", () => {
  const scene = new DnsScene();
  scene.server.records = [...worker(1), ...worker(2)];
  scene.server.additionals = scene.server.records.slice();
  scene.browser.browse(fooQuery, 0);
  scene.run(9000);
  assert.deepEqual(scene.told(), [
    "found w1 192.0.2.11:80",
    "found w2 192.0.2.12:80",
    "settled",
  ]);
  assert.deepEqual(scene.asked(), ["udp PTR _foo._tcp.example.org"]);
  // Only one of two addresses comes along: the other is asked for.
  scene.server.records.push(host("host1.example.org", "192.0.2.101", 10));
  scene.run(9000);
  scene.server.additionals = scene.server.additionals.map((record) =>
    record.name === "host1.example.org" ? host(record.name, "192.0.2.101", 10) : record
  );
  scene.run(3000);
  assert.deepEqual(scene.told(), ["found w1 192.0.2.11,192.0.2.101:80"]);
  assert.ok(scene.asked().includes("udp A host1.example.org"));
});

Deno.test("additional records of other domains are not believed", () => {
  const scene = new DnsScene();
  scene.server.records = [
    srv(srvQuery.srvName, "host.example.net", 80),
    host("host.example.net", "192.0.2.1"),
  ];
  scene.server.additionals = [host("host.example.net", "192.0.2.66")];
  scene.browser.browse(srvQuery, 0);
  scene.run(1000);
  assert.deepEqual(scene.told(), ["found host.example.net:80 192.0.2.1:80", "settled"]);
});

Deno.test("hosts may be aliases, within an answer and across zones", () => {
  const scene = new DnsScene();
  scene.server.records = [
    srv(srvQuery.srvName, "a.example.org", 80, 100),
    cname("a.example.org", "b.example.org", 5),
    cname("b.example.org", "c.example.org", 100),
    host("c.example.org", "192.0.2.1", 100),
  ];
  scene.browser.browse(srvQuery, 0);
  scene.run(4000);
  assert.deepEqual(scene.told(), ["found a.example.org:80 192.0.2.1:80", "settled"]);
  assert.deepEqual(scene.asked().slice(1), ["udp A a.example.org"]);
  // The shortest TTL of the chain counts. Now the server only knows the alias.
  scene.server.tamper = (answer) => {
    const message = decodeMessage(answer)!;
    if (!message.questions[0]!.name.startsWith("a.")) return answer;
    return encodeMessage({ ...message, answers: message.answers.slice(0, 2) });
  };
  scene.server.records[3] = host("c.example.org", "192.0.2.2", 100);
  scene.run(3000);
  assert.deepEqual(scene.told(), ["found a.example.org:80 192.0.2.2:80"]);
  assert.deepEqual(scene.asked(), ["udp A a.example.org", "udp A c.example.org"]);
});

Deno.test("aliases in a circle are a failure like any other", () => {
  const scene = new DnsScene();
  scene.server.records = [
    srv(srvQuery.srvName, "a.example.org", 80, 100),
    cname("a.example.org", "b.example.org"),
    cname("b.example.org", "a.example.org"),
  ];
  scene.browser.browse(srvQuery, 0);
  scene.run(10_000);
  assert.deepEqual(scene.told(), []);
  assert.ok(scene.notices.some(({ text }) => /too long a chain of aliases/.test(text)));
});

Deno.test("an alias that leads nowhere means that there is no address", () => {
  const scene = new DnsScene();
  scene.server.records = [
    srv(srvQuery.srvName, "a.example.org", 80, 100),
    cname("a.example.org", "b.example.org"),
  ];
  scene.server.negative = undefined;
  scene.browser.browse(srvQuery, 0);
  scene.run(1000);
  assert.deepEqual(scene.told(), ["settled"]);
});

Deno.test("answers with another id, question or source are not heard", () => {
  const scene = new DnsScene();
  scene.server.records = server(1);
  const falsify = (change: (bytes: Uint8Array) => void) => (answer: Uint8Array) => {
    const copy = answer.slice();
    change(copy);
    return copy;
  };
  for (
    const change of [
      (bytes: Uint8Array) => bytes[1]! ^= 1,
      (bytes: Uint8Array) => bytes[13]! ^= 1,
      (bytes: Uint8Array) => bytes[2]! &= 0x7f,
    ]
  ) {
    scene.server.tamper = falsify(change);
    scene.browser.browse(srvQuery, scene.now);
    scene.run(1000);
    assert.deepEqual(scene.told(), []);
    scene.browser.stop(srvQuery);
  }
  assert.equal(scene.browser.counters.mismatched, 3);
  scene.server.tamper = (answer) => {
    const [exchange] = scene.open;
    for (const source of [parseNameserver("192.0.2.2")!, parseNameserver("192.0.2.1:54")!]) {
      scene.browser.handleResponse({ exchange: exchange!, source, bytes: answer }, scene.now);
    }
    return undefined;
  };
  scene.browser.browse(srvQuery, scene.now);
  scene.run(1000);
  assert.equal(scene.browser.counters.mismatched, 5);
  assert.deepEqual(scene.told(), []);
});

Deno.test("letters in the other case are the same name", () => {
  const scene = new DnsScene();
  scene.server.records = server(1);
  scene.server.tamper = (answer) => {
    const message = decodeMessage(answer)!;
    const questions = message.questions.map((q) => ({ ...q, name: q.name.toUpperCase() }));
    return encodeMessage({ ...message, questions });
  };
  scene.browser.browse(srvQuery, 0);
  scene.run(1000);
  assert.equal(scene.told().at(-1), "settled");
});

Deno.test("a server that does not know EDNS is asked without", () => {
  const scene = new DnsScene();
  scene.server.understandsEdns = false;
  scene.server.records = server(1);
  scene.browser.browse(srvQuery, 0);
  scene.run(3000);
  assert.equal(scene.told().at(-1), "settled");
  assert.equal(scene.asked().length, 3, "the second question knows already");
});

Deno.test("queries want recursion and offer 1232 bytes; ids are drawn", () => {
  const scene = new DnsScene();
  const ids = new Set<number>();
  for (let i = 0; i < 50; i++) {
    scene.browser.browse({ srvName: `_http._tcp.s${i}.example.org` }, 0);
  }
  scene.browser.handleTimeout(0);
  for (let transmit; (transmit = scene.browser.pollTransmit());) {
    const message = decodeMessage(transmit.bytes)!;
    ids.add(message.id);
    assert.equal(transmit.bytes[2], 0x01);
    assert.deepEqual(message.additionals.map((r) => [r.name, r.type, r.class]), [["", 41, 1232]]);
  }
  assert.equal(ids.size, 50);
});

Deno.test("a list without end is cut, what is in use stays, and no more than 64 sockets are open", () => {
  const scene = new DnsScene();
  const all = (from: number) =>
    Array.from({ length: 2000 }, (_, i) => [
      srv(srvQuery.srvName, `h${from + i}.example.org`, 80, 10),
      host(`h${from + i}.example.org`, "192.0.2.1", 3600),
    ]).flat();
  scene.server.records = all(2000);
  scene.browser.browse(srvQuery, 0);
  scene.browser.handleTimeout(0);
  scene.run(5000);
  assert.equal(scene.told().length, maxInstances + 1);
  assert.equal(scene.browser.size.instances, maxInstances);
  // Names that sort before those in use do not push them out.
  scene.server.records = [...all(2000), srv(srvQuery.srvName, "a.example.org", 80, 10)];
  scene.run(20_000);
  assert.deepEqual(scene.told(), []);
  const { text } = scene.notices.find(({ level }) => level === "warning")!;
  assert.equal(text, `${srvQuery.srvName} lists 2000 instances; only 1000 of them are used`);
});

Deno.test("no more than 64 queries are under way at a time", () => {
  const scene = new DnsScene();
  scene.server.silent = true;
  for (let i = 0; i < 200; i++) {
    scene.browser.browse({ srvName: `_http._tcp.s${i}.example.org` }, 0);
  }
  scene.run(1000);
  assert.equal(scene.open.size, 64);
  scene.run(4000);
  assert.equal(scene.open.size, 64);
});

Deno.test("a second query about the same is told at once; one that ended is told nothing", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1);
  scene.browser.browse(fooQuery, 0);
  scene.run(1000);
  scene.events.length = 0;
  const second = { ...fooQuery, interfaceName: "eth0" };
  scene.browser.browse(second, scene.now);
  scene.run(0);
  assert.deepEqual(scene.events.map(({ type, query }) => [type, query]), [
    ["found", "_foo._tcp.example.org%eth0"],
    ["settled", "_foo._tcp.example.org%eth0"],
  ]);
  scene.browser.stop(fooQuery);
  scene.events.length = 0;
  scene.server.records = [];
  scene.run(11_000);
  assert.deepEqual(scene.events.map(({ type, query }) => [type, query]), [
    ["lost", "_foo._tcp.example.org%eth0"],
  ]);
  scene.browser.stop(second);
  assert.deepEqual(scene.browser.size, { lookups: 0, instances: 0 });
  assert.equal(scene.browser.nextDeadline(), Infinity);
});

Deno.test("what ends while queries are under way leaves nothing behind", () => {
  const scene = new DnsScene();
  scene.server.records = worker(1);
  scene.server.silent = true;
  scene.browser.browse(fooQuery, 0);
  scene.run(100);
  assert.equal(scene.open.size, 1);
  scene.browser.stop(fooQuery);
  scene.run(0);
  assert.equal(scene.open.size, 0);
  assert.equal(scene.browser.nextDeadline(), Infinity);
});

Deno.test("instances that come and go leave no question behind", () => {
  const scene = new DnsScene();
  scene.browser.browse(fooQuery, 0);
  for (let i = 0; i < 50; i++) {
    scene.server.records = [...worker(i, 1), ...worker(i + 1, 1)];
    scene.server.negative = 1;
    scene.run(3000);
  }
  assert.deepEqual(scene.browser.size, { lookups: 7, instances: 2 });
});

Deno.test("a name that is none is refused", () => {
  const scene = new DnsScene();
  const query = { serviceType: "_foo._tcp", domain: "a".repeat(64), interfaceName: "" };
  assert.throws(() => scene.browser.browse(query, 0), RangeError);
});
