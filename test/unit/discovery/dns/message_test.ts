import { assert } from "../../../testing.ts";
import {
  classIn,
  decodeMessage,
  encodeMessage,
  maxPacketBytes,
  type Message,
  MessageEncoder,
  RecordType,
} from "../../../../src/discovery/dns/message.ts";
import { host, ptr, response, shared, srv, txt } from "../../../fakes/records.ts";

const ascii = (text: string) => [...new TextEncoder().encode(text)];
/** A label on the wire. */
const label = (text: string) => [text.length, ...ascii(text)];
const u16 = (value: number) => [value >> 8, value & 255];
const pointer = (offset: number) => u16(0xc000 | offset);
const header = (questions: number, answers: number, additionals = 0) => [
  ...[0, 0, 0x84, 0],
  ...[questions, answers, 0, additionals].flatMap(u16),
];
/** A record of class IN and 120 seconds. */
const rr = (name: number[], type: number, data: number[], length = data.length) => [
  ...[...name, ...u16(type), 0, 1, 0, 0, 0, 120],
  ...[...u16(length), ...data],
];

/** What an A record of 10.0.0.1 looks like. */
const good = rr([...label("good"), 0], RecordType.A, [10, 0, 0, 1]);

function decode(...parts: number[][]): Message {
  const message = decodeMessage(Uint8Array.from(parts.flat()));
  assert.ok(message);
  return message;
}

/** The names that pointers to `offsets` of `bytes` lead to; a record header of 23 bytes is before. */
function namesIn(bytes: number[], ...offsets: number[]): (string | undefined)[] {
  const message = decode(
    header(0, 1 + offsets.length),
    rr([0], 99, bytes),
    // As the data of a PTR: a bad one does not cost the rest.
    ...offsets.map((offset) => rr([0], RecordType.PTR, pointer(23 + offset))),
  );
  const names = message.answers.slice(1).map(({ data }) =>
    data.kind === "pointer" ? data.target : undefined
  );
  return message.skipped > 0 ? [...names, `${message.skipped} skipped`] : names;
}

Deno.test("RFC 1035 4.1.4: names that share a tail", () => {
  const bytes = new Array<number>(97).fill(0);
  const put = (offset: number, name: number[]) => bytes.splice(offset, name.length, ...name);
  put(20, [...label("F"), ...label("ISI"), ...label("ARPA"), 0]);
  put(40, [...label("FOO"), ...pointer(23 + 20)]);
  put(64, pointer(23 + 26));
  put(92, [0]);
  assert.deepEqual(namesIn(bytes, 20, 40, 64, 92), ["F.ISI.ARPA", "FOO.F.ISI.ARPA", "ARPA", ""]);
});

Deno.test("pointers that lead forwards, to themselves or into the header are malformed", () => {
  assert.deepEqual(namesIn(pointer(23), 0), ["1 skipped"]);
  assert.deepEqual(namesIn([...pointer(25), ...pointer(23)], 0, 2), ["2 skipped"]);
  assert.deepEqual(namesIn(pointer(11), 0), ["1 skipped"]);
  assert.deepEqual(namesIn([...label("a"), ...pointer(23)], 0), ["1 skipped"], "runs into itself");
  assert.deepEqual(namesIn([0x40, 0, 0x80, 0], 0, 2), ["2 skipped"], "other kinds of label");
});

Deno.test("a chain of pointers is followed as far as a name can have labels", () => {
  const chain = [...label("end"), 0];
  const links: number[] = [];
  for (let i = 0, target = 0; i < 4000; i++) {
    links.push(chain.length);
    chain.push(...pointer(23 + target));
    target = chain.length - 2;
  }
  assert.deepEqual(namesIn(chain, links[125]!), ["end"]);
  assert.deepEqual(namesIn(chain, links[3999]!), ["1 skipped"]);
});

Deno.test("a name has at most 255 bytes, compressed or not", () => {
  const labels = (count: number) => new Array(count).fill(label("a")).flat();
  assert.deepEqual(namesIn([...labels(127), 0], 0), [new Array(127).fill("a").join(".")]);
  assert.deepEqual(namesIn([...labels(128), 0], 0), ["1 skipped"]);
  const long = [...labels(100), 0];
  assert.deepEqual(namesIn([...long, ...labels(28), ...pointer(23)], long.length), ["1 skipped"]);
  assert.equal(
    namesIn([...long, ...labels(27), ...pointer(23)], long.length)[0]?.length,
    2 * 127 - 1,
  );
  assert.deepEqual(namesIn([63, ...new Array(63).fill(0x61), 0], 0), ["a".repeat(63)]);
});

Deno.test("what a pointer leads to may not contain the pointer", () => {
  assert.deepEqual(namesIn([3, ...pointer(23), 0x78, 0], 1), ["1 skipped"]);
});

Deno.test("a pointer that is cut does not borrow its second half from the next record", () => {
  const twelve = [...label("twelve-bytes"), 0];
  const { answers, skipped } = decode(
    header(0, 3),
    rr([...label("ok"), 0], RecordType.A, [10, 0, 0, 1]),
    rr([0], RecordType.NSEC, [0xc0]),
    rr(twelve, RecordType.A, [10, 0, 0, 1]),
  );
  assert.deepEqual(answers.map(({ name }) => name), ["ok", "twelve-bytes"]);
  assert.equal(skipped, 1);
});

Deno.test("a malformed name seen twice is malformed twice", () => {
  assert.deepEqual(namesIn([...label("a"), 0x40, ...label("ok"), 0], 0, 0, 3), ["ok", "2 skipped"]);
});

Deno.test("names inside SRV and NSEC are decompressed (RFC 6762 18.14)", () => {
  const { answers, skipped } = decode(
    header(0, 2),
    rr([...label("h"), ...label("local"), 0], RecordType.SRV, [
      ...[0, 1, 0, 2, 0x1f, 0x90],
      ...[...label("web"), ...pointer(14)],
    ]),
    rr(pointer(12), RecordType.NSEC, [...pointer(12), 0, 4, 0x40, 0, 0, 8]),
  );
  assert.equal(skipped, 0);
  assert.deepEqual(answers[0]?.data, {
    kind: "service",
    priority: 1,
    weight: 2,
    port: 8080,
    target: "web.local",
  });
  assert.deepEqual(answers[1]?.data, {
    kind: "existing-types",
    next: "h.local",
    types: [RecordType.A, RecordType.AAAA],
  });
});

Deno.test("one bad record never costs the rest", () => {
  const name = [...label("bad"), 0];
  const bad: Record<string, number[]> = {
    "A of 3 bytes": rr(name, RecordType.A, [10, 0, 0]),
    "A of 5 bytes": rr(name, RecordType.A, [10, 0, 0, 1, 0]),
    "A of 16 bytes": rr(name, RecordType.A, new Array(16).fill(0)),
    "AAAA of 4 bytes": rr(name, RecordType.AAAA, [10, 0, 0, 1]),
    "TXT longer than its data": rr(name, RecordType.TXT, [5, 0x61]),
    "SRV without target": rr(name, RecordType.SRV, [0, 0, 0, 0, 0, 80]),
    "SRV of 2 bytes": rr(name, RecordType.SRV, [0, 0]),
    "SRV with a tail": rr(name, RecordType.SRV, [0, 0, 0, 0, 0, 80, 0, 1]),
    "PTR whose name leaves its data": rr(name, RecordType.PTR, [9, 0x61]),
    "PTR with a tail": rr(name, RecordType.PTR, [0, 0]),
    "empty PTR": rr(name, RecordType.PTR, []),
    "NSEC with an empty window": rr(name, RecordType.NSEC, [0, 0, 0]),
    "NSEC with a window of 33 bytes": rr(name, RecordType.NSEC, [0, 0, 33, ...new Array(33)]),
    "NSEC with windows out of order": rr(name, RecordType.NSEC, [0, 1, 1, 1, 0, 1, 1]),
    "NSEC whose window is cut": rr(name, RecordType.NSEC, [0, 0, 4, 1]),
  };
  for (const [what, bytes] of Object.entries(bad)) {
    const { answers, additionals, skipped } = decode(header(0, 2, 1), good, bytes, good);
    assert.equal(skipped, 1, what);
    assert.deepEqual(answers.map((record) => record.name), ["good"], what);
    assert.deepEqual(additionals, answers, what);
  }
});

Deno.test("an OPT record of any content costs nothing and its class is no class", () => {
  const opt = rr([0], RecordType.OPT, [0xff, 0xff, 0xff]);
  opt.splice(3, 2, 0x85, 0xa0);
  const { answers, skipped } = decode(header(0, 2), opt, good);
  assert.equal(skipped, 0);
  assert.equal(answers[0]?.class, 0x85a0);
  assert.equal(answers[0]?.flush, false);
  assert.equal(answers[1]?.name, "good");
});

Deno.test("where the end of a record cannot be found the rest is lost, not what came before", () => {
  for (const cut of [good.slice(0, -1), good.slice(0, 9), rr([0], RecordType.A, [1], 65535)]) {
    const { answers, additionals, skipped } = decode(header(0, 2, 1), good, cut);
    assert.deepEqual(answers.map(({ name }) => name), ["good"]);
    assert.deepEqual(additionals, []);
    assert.equal(skipped, 2, "one in the answers, one in the additionals");
  }
  // The counts promise more than there is.
  assert.equal(decode(header(65535, 65535)).skipped, 2);
});

Deno.test("what cannot be a packet is no message", () => {
  assert.equal(decodeMessage(new Uint8Array(0)), undefined);
  assert.equal(decodeMessage(new Uint8Array(11)), undefined);
  assert.equal(decodeMessage(new Uint8Array(maxPacketBytes + 1)), undefined);
  assert.ok(decodeMessage(new Uint8Array(maxPacketBytes)));
});

Deno.test("a packet is read where it lies in its buffer", () => {
  const packet = response([host("a.local", "10.0.0.1")]);
  const buffer = new Uint8Array(packet.length + 20).fill(0xff);
  buffer.set(packet, 10);
  assert.deepEqual(decodeMessage(buffer.subarray(10, 10 + packet.length)), decodeMessage(packet));
});

Deno.test("what was decoded does not change with the receive buffer", () => {
  const packet = response([txt("a.local", ["k=v"]), { ...txt("a.local", []), type: 99 }]);
  const message = decodeMessage(packet);
  const before = structuredClone(message);
  packet.fill(0);
  assert.deepEqual(message, before);
});

Deno.test("an encoded query is what RFC 6762 18 wants, byte by byte", () => {
  const bytes = encodeMessage({
    questions: [
      { name: "_http._tcp.local", type: RecordType.PTR, class: classIn, unicast: true },
      { name: "web._http._tcp.local", type: RecordType.SRV, class: classIn, unicast: false },
    ],
    truncated: true,
  });
  assert.deepEqual([...bytes], [
    ...[0, 0, 0x02, 0, 0, 2, 0, 0, 0, 0, 0, 0],
    ...[...label("_http"), ...label("_tcp"), ...label("local"), 0, 0, 12, 0x80, 1],
    ...[...label("web"), ...pointer(12), 0, 33, 0, 1],
  ]);
});

Deno.test("an encoded response is compressed, in SRV too, and has the cache-flush bit", () => {
  const bytes = response([
    ptr("_http._tcp.local", "web._http._tcp.local", 4500),
    srv("web._http._tcp.local", "host.local", 80, 120, 1, 2),
  ]);
  assert.deepEqual([...bytes], [
    ...[0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0],
    ...[...label("_http"), ...label("_tcp"), ...label("local"), 0],
    ...[0, 12, 0, 1, 0, 0, 0x11, 0x94, 0, 6, ...label("web"), ...pointer(12)],
    ...[...pointer(40), 0, 33, 0x80, 1, 0, 0, 0, 120],
    ...[0, 13, 0, 1, 0, 2, 0, 80, ...label("host"), ...pointer(23)],
  ]);
});

Deno.test("compression keeps the case of every name", () => {
  const packet = response([ptr("_FOO._tcp.local", "Web._foo._TCP.local")]);
  const message = decodeMessage(packet);
  assert.equal(message?.answers[0]?.name, "_FOO._tcp.local");
  assert.deepEqual(message?.answers[0]?.data, { kind: "pointer", target: "Web._foo._TCP.local" });
});

Deno.test("an escaped dot joins no labels in compression", () => {
  const names = ["a\\.local", "a.local", "\\.local", "x.a\\.local"];
  const message = decodeMessage(response(names.map((name) => host(name, "10.0.0.1"))));
  assert.deepEqual(message?.answers.map(({ name }) => name), names);
});

Deno.test("names past the reach of a pointer are written out", () => {
  const filler = { ...txt("f.local", []), data: { kind: "opaque", bytes: new Uint8Array(16384) } };
  const records = [filler as typeof filler & { data: { kind: "opaque" } }];
  const packet = encodeMessage({
    answers: [...records, host("late.test", "10.0.0.1"), host("late.test", "10.0.0.2")],
  });
  assert.equal(packet.length, 12 + 9 + 10 + 16384 + 2 * (11 + 10 + 4));
});

Deno.test("a name that cannot be written is refused", () => {
  for (const name of ["a..b", "local.", "a".repeat(64), new Array(128).fill("a").join(".")]) {
    assert.throws(() => response([host(name, "10.0.0.1")]), RangeError, name);
  }
});

Deno.test("the encoder takes what fits whole and leaves no trace of the rest", () => {
  const encoder = new MessageEncoder(200);
  encoder.setFlags({ response: true, authoritative: true });
  const added = [];
  for (let i = 0; i < 20; i++) {
    const record = shared(host(`host-${i}.local`, `10.0.0.${i}`));
    if (encoder.record(record, "answers")) added.push(record);
  }
  // A name of which a longer, refused record would have left its tail behind.
  const packet = encoder.finish();
  assert.ok(packet.length <= 200 && packet.length > 170);
  assert.ok(added.length > 5 && added.length < 20);
  const message = decodeMessage(packet);
  assert.deepEqual(message?.answers, added);
  assert.equal(message?.skipped, 0);
});

Deno.test("no pointer leads to a record that did not fit", () => {
  const encoder = new MessageEncoder(100);
  assert.ok(encoder.record(host("a.local", "10.0.0.1"), "answers"));
  assert.ok(!encoder.record(host(`${"x".repeat(60)}.other.test`, "10.0.0.1"), "answers"));
  assert.ok(encoder.record(host("b.other.test", "10.0.0.1"), "answers"));
  const message = decodeMessage(encoder.finish());
  assert.deepEqual(message?.answers.map(({ name }) => name), ["a.local", "b.other.test"]);
});
