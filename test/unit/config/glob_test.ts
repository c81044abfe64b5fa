import { matchesGlob } from "../../../src/config/glob.ts";
import { assert, fc } from "../../testing.ts";

Deno.test("patterns match as fnmatch(3) does", () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ["*.conf", "a.conf", true],
    ["*.conf", ".conf", true],
    ["*.conf", ".hidden.conf", true],
    ["*.conf", "a.conf.bak", false],
    ["?.conf", "a.conf", true],
    ["?.conf", "ab.conf", false],
    ["?.conf", "\u{1f600}.conf", true],
    ["*a*b*c", "xaxbxc", true],
    ["*a*b*c", "xaxcxb", false],
    ["[0-9]*", "1-first", true],
    ["[0-9]*", "first", false],
    ["[!0-9]*", "first", true],
    ["[^0-9]*", "1", false],
    ["[]x]*", "]", true],
    ["[a-]*", "-", true],
    ["[z-a]*", "m", false],
    ["[abc*", "[abcd", true],
    ["*", "", true],
    ["", "", true],
    ["", "a", false],
    ["a.c*", "abc", false],
  ];
  for (const [pattern, name, expected] of cases) {
    assert.equal(matchesGlob(pattern, name), expected, `${pattern} on ${name}`);
  }
});

Deno.test("a pattern of stars and letters agrees with a regular expression", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 8 });
  const names = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
  fc.assert(fc.property(letters, names, (pattern, name) => {
    const expression = pattern.replaceAll("?", ".").replaceAll("*", ".*");
    assert.equal(matchesGlob(pattern, name), new RegExp(`^${expression}$`).test(name));
  }));
});

Deno.test("many stars take no exponential time", () => {
  const start = performance.now();
  assert.equal(matchesGlob("*a".repeat(100) + "b", "a".repeat(255)), false);
  assert.ok(performance.now() - start < 1000);
});
