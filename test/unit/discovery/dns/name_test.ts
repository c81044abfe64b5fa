import { assert } from "../../../testing.ts";
import {
  escapeLabel,
  foldName,
  isEncodable,
  labelToBytes,
  labelToText,
  splitName,
  textToLabel,
} from "../../../../src/discovery/dns/name.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("a label is escaped so that dots join labels only", () => {
  assert.equal(escapeLabel(bytes("web")), "web");
  assert.equal(escapeLabel(bytes("Mr. Printer v1.0")), "Mr\\. Printer v1\\.0");
  assert.equal(escapeLabel(bytes("a\\b")), "a\\\\b");
  assert.equal(escapeLabel(bytes("höher 日本 🐧")), "höher 日本 🐧");
  assert.equal(escapeLabel(bytes("\u{feff}x")), "\u{feff}x");
});

Deno.test("bytes that are no text are escaped by number", () => {
  assert.equal(escapeLabel(bytes("a\tb\0\x7f")), "a\\009b\\000\\127");
  // Not UTF-8: what would have been a letter is a byte.
  assert.equal(escapeLabel(Uint8Array.of(0x66, 0xff, 0xc3, 0x31)), "f\\255\\1951");
});

Deno.test("an escaped label gives its bytes back", () => {
  assert.deepEqual(labelToBytes("f\\255\\1951"), Uint8Array.of(0x66, 0xff, 0xc3, 0x31));
  assert.deepEqual(labelToBytes("a\\\\065"), bytes("a\\065"));
  assert.deepEqual(labelToBytes("a\\.b"), bytes("a.b"));
  assert.deepEqual(labelToBytes("ö\\."), bytes("ö."));
  // What no encoder writes stands for itself.
  assert.deepEqual(labelToBytes("a\\"), bytes("a\\"));
  assert.deepEqual(labelToBytes("\\999"), bytes("999"));
  assert.deepEqual(labelToBytes("\\12"), bytes("12"));
});

Deno.test("a name is split at dots that are not escaped", () => {
  assert.deepEqual(splitName("Mr\\. X\\\\._foo._tcp.local"), [
    "Mr\\. X\\\\",
    "_foo",
    "_tcp",
    "local",
  ]);
  assert.deepEqual(splitName("a.b"), ["a", "b"]);
  assert.deepEqual(splitName(""), []);
});

Deno.test("a label for people has no escapes", () => {
  assert.equal(labelToText("Mr\\. Printer v1\\.0"), "Mr. Printer v1.0");
  assert.equal(labelToText("f\\255"), "f\u{fffd}");
  assert.equal(labelToText("\\009\u{feff}"), "\t\u{feff}");
  assert.equal(textToLabel("Mr. Printer v1.0"), "Mr\\. Printer v1\\.0");
});

Deno.test("only ASCII letters are folded", () => {
  assert.equal(foldName("WEB._Foo._TCP.Local"), "web._foo._tcp.local");
  // Two letters that toLowerCase folds into ASCII or into another length.
  assert.equal(foldName("\u{212a}\u{130}Ö"), "\u{212a}\u{130}Ö");
});

Deno.test("a name is encodable within the limits of RFC 1035", () => {
  assert.ok(isEncodable("a".repeat(63) + ".local"));
  assert.ok(!isEncodable("a".repeat(64) + ".local"));
  assert.ok(!isEncodable("ö".repeat(32) + ".local"), "limits are in bytes");
  assert.ok(isEncodable("\\255".repeat(63) + ".local"), "an escape is one byte");
  assert.ok(!isEncodable("a..b"));
  assert.ok(!isEncodable("local."));
  const labels = (count: number) => new Array(count).fill("a").join(".");
  assert.ok(isEncodable(labels(127)));
  assert.ok(!isEncodable(labels(128)));
});
