/**
 * What discovery costs: `deno bench -A test/bench/dns_bench.ts`.
 *
 * The packets that are "made to be slow" are the worst that were thought of; issue 4 allows 5 ms.
 */
import { decodeMessage, encodeMessage } from "../../src/discovery/dns/message.ts";
import { MdnsBrowser } from "../../src/discovery/mdns/browser.ts";
import { goodbye, host, ptr, response, srv, txt } from "../fakes/records.ts";

const foo = "_foo._tcp.local";

function instance(i: number, service: string = foo): Uint8Array {
  const name = `Worker ${i} v2\\.0 (höher).${service}`;
  return response([
    ptr(service, name),
    srv(name, `host-${i}.local`, 8000),
    txt(name, ["version=1", "path=/health"]),
    host(`host-${i}.local`, `10.0.${i >> 8 & 255}.${i & 255}`),
  ]);
}

function browser(services: readonly string[] = ["_foo._tcp"]): MdnsBrowser {
  const made = new MdnsBrowser({
    random: Math.random,
    families: new Set(["ipv4"]),
    maxLifetime: Infinity,
    maxRecords: 100_000,
  });
  for (const serviceType of services) {
    made.browse({ serviceType, domain: "local", interfaceName: "" }, 0);
  }
  made.interfaceUp({ index: 2, name: "eth0" }, 0);
  return made;
}

function hear(subject: MdnsBrowser, bytes: Uint8Array, now: number): void {
  subject.handlePacket({ interfaceIndex: 2, sourcePort: 5353, bytes }, now);
  if (subject.nextDeadline() <= now) subject.handleTimeout(now);
  while (subject.pollTransmit());
  while (subject.pollEvent());
}

const announcement = instance(1);
const message = decodeMessage(announcement)!;

Deno.bench("decode an announcement of four records", { group: "codec" }, () => {
  decodeMessage(announcement);
});

Deno.bench("encode an announcement of four records", { group: "codec" }, () => {
  encodeMessage(message);
});

/** Questions about one name of 127 labels, by pointer. */
function manyPointers(): Uint8Array {
  const packet = new Uint8Array(9000);
  let at = 12;
  for (let i = 0; i < 126; i++) packet.set([1, 0x61], at + 2 * i);
  at += 252 + 5;
  let count = 1;
  for (; at + 6 <= packet.length; at += 6) {
    packet.set([0xc0, 12], at);
    count++;
  }
  new DataView(packet.buffer).setUint16(4, count);
  return packet;
}

/** Names of 126 labels that are no UTF-8. */
function manyLabels(): Uint8Array {
  const packet = new Uint8Array(9000);
  let at = 12;
  let count = 0;
  for (; at + 257 <= packet.length; at += 257) {
    for (let i = 0; i < 126; i++) packet.set([1, 0xff], at + 2 * i);
    count++;
  }
  new DataView(packet.buffer).setUint16(4, count);
  return packet;
}

/** A chain of pointers in an opaque record, and records that point into it, all malformed. */
function manyHops(): Uint8Array {
  const packet = new Uint8Array(9000);
  const length = 4000;
  packet.set([0, 0, 99, 0, 1, 0, 0, 0, 0, length >> 8, length & 255, 0x40], 12);
  const start = 23;
  for (let at = start + 1, target = start; at + 2 <= start + length; target = at, at += 2) {
    packet.set([0xc0 | target >> 8, target & 255], at);
  }
  let count = 1;
  for (let at = start + length; at + 13 <= packet.length; at += 13, count++) {
    const target = start + 1 + 2 * (count * 4 % 1990);
    packet.set([0, 0, 12, 0, 1, 0, 0, 0, 0, 0, 2, 0xc0 | target >> 8, target & 255], at);
  }
  new DataView(packet.buffer).setUint16(6, count);
  return packet;
}

for (const make of [manyPointers, manyLabels, manyHops]) {
  const packet = make();
  Deno.bench(`decode a packet made to be slow: ${make.name}`, { group: "worst" }, () => {
    decodeMessage(packet);
  });
}

const thousand = Array.from({ length: 1000 }, (_, i) => instance(i));

Deno.bench("1,000 instances appear", { group: "browser" }, () => {
  const subject = browser();
  for (const bytes of thousand) hear(subject, bytes, 1);
});

const settled = browser();
let now = 1;
for (const bytes of thousand) hear(settled, bytes, now);

Deno.bench("1,000 instances are announced again", { group: "browser" }, () => {
  now++;
  for (const bytes of thousand) hear(settled, bytes, now);
});

Deno.bench("one of 1,000 instances goes and comes back", { group: "browser" }, () => {
  now++;
  const name = `Worker 7 v2\\.0 (höher).${foo}`;
  hear(settled, response([goodbye(ptr(foo, name))]), now);
  hear(settled, thousand[7]!, now);
});

Deno.bench("a foreign record passes by", { group: "browser" }, () => {
  hear(settled, foreign, now);
});
const foreign = instance(1, "_bar._tcp.local");

const services = Array.from({ length: 500 }, (_, i) => `_service${i}._tcp`);
const manyAnnounced = services.flatMap((service) =>
  [0, 1].map((i) => instance(i, `${service}.local`))
);

Deno.bench("500 services with two instances each appear, and are asked for", {
  group: "browser",
}, () => {
  const subject = browser(services);
  for (const bytes of manyAnnounced) hear(subject, bytes, 1);
  for (let next; (next = subject.nextDeadline()) < 10_000;) {
    subject.handleTimeout(next);
    while (subject.pollTransmit());
  }
});

Deno.bench("an hour with 1,000 silent instances: every query, every expiry", {
  group: "browser",
}, () => {
  const subject = browser();
  for (const bytes of thousand) hear(subject, bytes, 1);
  for (let next; (next = subject.nextDeadline()) < 3600_000;) {
    subject.handleTimeout(next);
    while (subject.pollTransmit());
    while (subject.pollEvent());
  }
});
