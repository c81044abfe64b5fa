import { assert } from "../../../testing.ts";
import { parseTxt } from "../../../../src/discovery/dns/txt.ts";

function parse(...strings: string[]): [string, string | null][] {
  return [...parseTxt(strings.map((string) => new TextEncoder().encode(string)))];
}

Deno.test("TXT strings are keys with a value, an empty one or none", () => {
  assert.deepEqual(parse("a=1", "b=", "c", "d=x=y", "e= \u{feff}ö"), [
    ["a", "1"],
    ["b", ""],
    ["c", null],
    ["d", "x=y"],
    ["e", " \u{feff}ö"],
  ]);
});

Deno.test("the first of equal TXT keys counts, whatever its case", () => {
  assert.deepEqual(parse("Key=1", "kEY=2", "key"), [["key", "1"]]);
  assert.deepEqual(parse("key", "key=1"), [["key", null]]);
});

Deno.test("TXT strings without a proper key are ignored", () => {
  assert.deepEqual(parse("", "=x", "ö=1", "a\tb=1", "with space=1"), [["with space", "1"]]);
});

Deno.test("a TXT value may be any bytes", () => {
  const pairs = parseTxt([Uint8Array.of(0x61, 0x3d, 0xff, 0x00)]);
  assert.equal(pairs.get("a"), "\u{fffd}\0");
});
