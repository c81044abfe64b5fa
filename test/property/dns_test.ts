import { Buffer } from "node:buffer";
import dnsPacket from "dns-packet";
import { assert, fc } from "../testing.ts";
import { type Ip, ipFromBytes } from "../../src/model/address.ts";
import {
  classIn,
  decodeMessage,
  encodeMessage,
  type Message,
  RecordType,
  type ResourceRecord,
} from "../../src/discovery/dns/message.ts";
import {
  escapeLabel,
  foldName,
  labelToBytes,
  labelToText,
  maxLabelBytes,
  splitName,
} from "../../src/discovery/dns/name.ts";
import { seededRandom } from "../fakes/random.ts";

const utf8 = new TextEncoder();

/** Objects as the decoder makes them. */
function object<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true });
}

/** Labels as networks have them, and as they should not have them: any bytes. */
const label: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.constantFrom("_foo", "_FOO", "_tcp", "local", "Local", "Mr. W\\orker v2.0 (höher)", "\t\0")
    .map((
      text,
    ) => utf8.encode(text)),
  fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).map((text) =>
    utf8.encode(text).slice(0, maxLabelBytes)
  ),
  fc.uint8Array({ minLength: 1, maxLength: maxLabelBytes }),
);

const name: fc.Arbitrary<string> = fc.array(label, { maxLength: 5 })
  .filter((labels) => labels.reduce((bytes, { length }) => bytes + length + 1, 1) <= 255)
  .map((labels) => labels.map(escapeLabel).join("."));

const u16 = fc.nat(0xffff);
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const klass = fc.oneof(fc.constant(classIn), fc.nat(0x7fff));
const ip = (length: number): fc.Arbitrary<Ip> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(ipFromBytes);
const knownTypes = new Set<number>(Object.values(RecordType));

const typeAndData = fc.oneof(
  object({
    type: fc.constant(RecordType.A),
    data: object({ kind: fc.constant("address"), address: ip(4) }),
  }),
  object({
    type: fc.constant(RecordType.AAAA),
    data: object({ kind: fc.constant("address"), address: ip(16) }),
  }),
  object({
    type: fc.constant(RecordType.PTR),
    data: object({ kind: fc.constant("pointer"), target: name }),
  }),
  object({
    type: fc.constant(RecordType.SRV),
    data: object({
      kind: fc.constant("service"),
      priority: u16,
      weight: u16,
      port: u16,
      target: name,
    }),
  }),
  object({
    type: fc.constant(RecordType.TXT),
    data: object({
      kind: fc.constant("text"),
      strings: fc.array(fc.uint8Array({ maxLength: 255 }), { minLength: 1, maxLength: 5 }),
    }),
  }),
  object({
    type: fc.constant(RecordType.NSEC),
    data: object({
      kind: fc.constant("existing-types"),
      next: name,
      types: fc.uniqueArray(u16, { maxLength: 20 }).map((types) => types.sort((a, b) => a - b)),
    }),
  }),
  object({
    type: u16.filter((type) => !knownTypes.has(type)),
    data: object({ kind: fc.constant("opaque"), bytes: fc.uint8Array({ maxLength: 300 }) }),
  }),
);

const record = object({
  name,
  class: klass,
  flush: fc.boolean(),
  ttl: u32,
  content: typeAndData,
}).map(({ content, ...rest }): ResourceRecord => ({ ...rest, ...content } as ResourceRecord));

const records = fc.array(record, { maxLength: 6 });

const message: fc.Arbitrary<Message> = object({
  id: u16,
  response: fc.boolean(),
  opcode: fc.nat(15),
  authoritative: fc.boolean(),
  truncated: fc.boolean(),
  rcode: fc.nat(15),
  questions: fc.array(object({ name, type: u16, class: klass, unicast: fc.boolean() }), {
    maxLength: 6,
  }),
  answers: records,
  authorities: records,
  additionals: records,
  skipped: fc.constant(0),
});

Deno.test("decode(encode(message)) is the message", () => {
  fc.assert(
    fc.property(message, (original) => {
      const packet = encodeMessage(original);
      fc.pre(packet.length <= 9000);
      assert.deepEqual(decodeMessage(packet), original);
    }),
    { numRuns: 1000 },
  );
});

Deno.test("a label of any bytes survives being text", () => {
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 4 }), (labels) => {
      const escaped = labels.map(escapeLabel);
      assert.deepEqual(splitName(escaped.join(".")), escaped);
      assert.deepEqual(escaped.map(labelToBytes), labels.map((bytes) => new Uint8Array(bytes)));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("a label is shown as text exactly if it is UTF-8", () => {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const textOf = (bytes: Uint8Array) => {
    try {
      return strict.decode(bytes);
    } catch {
      return undefined;
    }
  };
  const parts = fc.constantFrom(
    [0x7e],
    [0xc3, 0xb6],
    [0xe2, 0x82, 0xac],
    [0xf0, 0x9f, 0x90, 0xa7],
    // Overlong, a surrogate, too large, cut, a lone continuation.
    ...[[0xc1, 0xbf], [0xe0, 0x9f, 0xbf], [0xf0, 0x8f, 0xbf, 0xbf], [0xed, 0xa0, 0x80]],
    ...[[0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0x82], [0xff]],
    ...[[0xed, 0x9f, 0xbf], [0xf4, 0x8f, 0xbf, 0xbf], [0xef, 0xbb, 0xbf]],
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(parts, { minLength: 1, maxLength: 4 }).map((all) => Uint8Array.from(all.flat())),
        label,
      ),
      (bytes) => {
        const text = textOf(bytes);
        const isNumeric = /\\(1[3-9]|12[89]|2)/.test(escapeLabel(bytes).replaceAll("\\\\", ""));
        assert.equal(isNumeric, text === undefined);
        if (text !== undefined) assert.equal(labelToText(escapeLabel(bytes)), text);
      },
    ),
    { numRuns: 2000 },
  );
});

Deno.test("folding makes names equal exactly if they differ in ASCII case alone", () => {
  const foldBytes = (bytes: Uint8Array) =>
    bytes.map((byte) => byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte);
  fc.assert(
    fc.property(label, label, fc.boolean(), (a, b, same) => {
      const other = same
        ? a.map((byte) => /[a-z]/i.test(String.fromCharCode(byte)) ? byte ^ 0x20 : byte)
        : b;
      const equal = foldBytes(a).join() === foldBytes(other).join();
      assert.equal(foldName(escapeLabel(a)) === foldName(escapeLabel(other)), equal);
    }),
    { numRuns: 2000 },
  );
});

// dns-packet cannot escape, so it agrees only about names of plain labels.
const plainName = fc.array(fc.constantFrom("_foo", "_tcp", "local", "web", "host-1"), {
  minLength: 1,
  maxLength: 4,
}).map((labels) => labels.join("."));

interface ForeignRecord {
  readonly name: string;
  readonly type: string;
  readonly class: string;
  readonly ttl: number;
  readonly flush: boolean;
  readonly data: unknown;
}

const foreignData = fc.oneof(
  ip(4).map((data) => ({ type: "A", data })),
  plainName.map((data) => ({ type: "PTR", data })),
  object({ priority: u16, weight: u16, port: u16, target: plainName }).map((data) => ({
    type: "SRV",
    data,
  })),
  fc.array(fc.uint8Array({ maxLength: 50 }), { minLength: 1, maxLength: 3 }).map((strings) => ({
    type: "TXT",
    data: strings.map((bytes) => Buffer.from(bytes)),
  })),
);

Deno.test("dns-packet and this codec read each other's plain packets alike", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(plainName, foreignData, fc.nat(0x7fff_ffff), fc.boolean()), {
        maxLength: 5,
      }),
      (entries) => {
        const answers = entries.map(([name, { type, data }, ttl, flush]): ForeignRecord => ({
          name,
          type,
          class: "IN",
          ttl,
          flush,
          data,
        }));
        const theirs = dnsPacket.encode({ type: "response", answers } as never);
        const decoded = decodeMessage(theirs);
        assert.equal(decoded?.skipped, 0);
        assert.equal(decoded?.answers.length, answers.length);
        const again = dnsPacket.decode(Buffer.from(encodeMessage(decoded!)));
        assert.deepEqual(
          plain((again as unknown as { answers: ForeignRecord[] }).answers),
          plain(answers),
        );
      },
    ),
    { numRuns: 300 },
  );
});

/** Only the fields both know, byte strings as numbers. */
function plain(answers: readonly ForeignRecord[]): unknown {
  return answers.map(({ name, type, ttl, flush, data }) => ({
    name,
    type,
    ttl,
    flush,
    data: Array.isArray(data) ? data.map((bytes: Uint8Array) => [...bytes]) : data,
  }));
}

/** What came out of a packet must be bounded by what went in. */
function checkBounds(packet: Uint8Array): Message | undefined {
  const decoded = decodeMessage(packet);
  if (!decoded) return undefined;
  const all = [...decoded.answers, ...decoded.authorities, ...decoded.additionals];
  // A question has at least 5 bytes, a record 11.
  const least = 12 + 5 * decoded.questions.length + 11 * all.length;
  assert.ok(least <= packet.length, "more came out than went in");
  for (const { name } of [...decoded.questions, ...all]) {
    // Escaped: four characters a byte, and a dot a label.
    assert.ok(name.length <= 4 * 255);
  }
  return decoded;
}

Deno.test("100,000 random packets: nothing throws, output is bounded", () => {
  const random = seededRandom(20240601);
  const bytes = new Uint8Array(9001);
  let read = 0;
  for (let i = 0; i < 100_000; i++) {
    const length = Math.floor(random() ** 4 * 600);
    // Small numbers and pointers are frequent, or no name would be read to its end.
    for (let at = 0; at < length; at++) {
      const byte = random() * 256;
      bytes[at] = byte < 160 ? byte & 7 : byte < 180 ? 0xc0 : byte;
    }
    // Counts that are not absurd, or little would be read.
    if (length >= 12 && i % 2 === 0) {
      for (let at = 4; at < 12; at++) bytes[at] = at % 2 === 0 ? 0 : random() * 8;
    }
    read += checkBounds(bytes.subarray(0, length))?.questions.length ?? 0;
  }
  assert.ok(read > 10_000, `too random to be read: ${read}`);
});

Deno.test("100,000 mutated packets: nothing throws, output is bounded", () => {
  const random = seededRandom(6762);
  const originals = fc.sample(message, { numRuns: 300, seed: 6762 }).map(encodeMessage);
  let skipped = 0;
  let read = 0;
  for (let i = 0; i < 100_000; i++) {
    const packet = originals[i % originals.length]!.slice();
    for (let edits = 1 + random() * 3; edits >= 1; edits--) {
      const at = Math.floor(random() * packet.length);
      // A pointer, a length, or anything.
      packet[at] = [0xc0, 0x3f, 0, 0xff, random() * 256][Math.floor(random() * 5)]!;
    }
    const end = random() < 0.2 ? Math.floor(random() * packet.length) : packet.length;
    const decoded = checkBounds(packet.subarray(0, end));
    skipped += decoded?.skipped ?? 0;
    read += decoded?.answers.length ?? 0;
    // What was read can be written.
    if (decoded && i % 100 === 0) encodeMessage(decoded);
  }
  assert.ok(skipped > 10_000 && read > 10_000, `${skipped} skipped, ${read} read`);
});
