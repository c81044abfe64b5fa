import { lookUpWellKnownPort, parsePortNames } from "../../../src/config/port_names.ts";
import type { Dialect } from "../../../src/config/schema.ts";
import {
  formatDuration,
  parseDuration,
  parseInetAton,
  readEndpoint,
  readInterface,
  readServiceType,
  type Report,
} from "../../../src/config/values.ts";
import { formatEndpoint } from "../../../src/model/address.ts";
import { assert, fc } from "../../testing.ts";

function report(
  dialect: Dialect,
): Report & { readonly errors: string[]; readonly warnings: string[] } {
  const errors: string[] = [];
  const warnings: string[] = [];
  return {
    dialect,
    lookUpPort: lookUpWellKnownPort,
    errors,
    warnings,
    error: (what) => void errors.push(what) as undefined,
    warn: (what) => void warnings.push(what),
  };
}

Deno.test("durations", () => {
  assert.equal(parseDuration("250ms"), 250);
  assert.equal(parseDuration("2s"), 2000);
  assert.equal(parseDuration("5m"), 300_000);
  assert.equal(parseDuration("1h"), 3_600_000);
  for (
    const text of ["", "5", "5 m", "-1s", "1.5s", "1m30s", "5M", "1d", "٣s", "9".repeat(13) + "s"]
  ) {
    assert.equal(parseDuration(text), undefined, text);
  }
});

Deno.test("formatDuration is the inverse of parseDuration", () => {
  fc.assert(fc.property(fc.nat(), (milliseconds) => {
    assert.equal(parseDuration(formatDuration(milliseconds)), milliseconds);
  }));
  assert.equal(formatDuration(300_000), "5m");
  assert.equal(formatDuration(0), "0s");
});

Deno.test("inet_aton forms", () => {
  const cases: Record<string, string | undefined> = {
    "127.1": "127.0.0.1",
    "1.2.772": "1.2.3.4",
    "16909060": "1.2.3.4",
    "0x7F.1": "127.0.0.1",
    "010.0.0.1": "8.0.0.1",
    "0": "0.0.0.0",
    "00.0.0.0": "0.0.0.0",
    "4294967295": "255.255.255.255",
    "4294967296": undefined,
    "1.16777216": undefined,
    "1.2.65536": undefined,
    "1.2.3.256": undefined,
    "08.1": undefined,
    "0x.1": undefined,
    "1.2.3.4.5": undefined,
    "1..2": undefined,
    "1.2.3.": undefined,
    "": undefined,
    "+1.2.3.4": undefined,
  };
  for (const [text, expected] of Object.entries(cases)) {
    assert.equal(parseInetAton(text), expected, text);
  }
});

Deno.test("endpoints: what either dialect takes", () => {
  const cases: readonly (readonly [string, string | undefined, string | undefined])[] = [
    ["192.0.2.1:80", "192.0.2.1:80", "192.0.2.1:80"],
    ["[2001:db8:0:0::1]:80", "[2001:db8::1]:80", "[2001:db8::1]:80"],
    ["[192.0.2.1]:80", "192.0.2.1:80", undefined],
    ["[127.1]:80", "127.0.0.1:80", undefined],
    ["127.1:80", "127.0.0.1:80", undefined],
    ["192.0.2.1:ssh", "192.0.2.1:22", undefined],
    ["192.0.2.1: +80", "192.0.2.1:80", undefined],
    ["192.0.2.1:080", "192.0.2.1:80", "192.0.2.1:80"],
    ["192.0.2.1:80 ", undefined, undefined],
    ["192.0.2.1:-80", undefined, undefined],
    ["192.0.2.1:65536", undefined, undefined],
    ["192.0.2.1:00", undefined, undefined],
    ["[192.0.2.1]80", undefined, undefined],
    ["192.0.2.1]:80", undefined, undefined],
    ["[192.0.2.1:80", undefined, undefined],
    [":80", undefined, undefined],
    ["[2001:db8::1]", undefined, undefined],
    ["2001:db8::1", undefined, undefined],
    ["[2001:db8::1%eth0]:80", undefined, undefined],
    ["224.0.0.1:80", "224.0.0.1:80", undefined],
    ["[::]:80", "[::]:80", undefined],
    ["[ff02::1]:80", "[ff02::1]:80", undefined],
  ];
  for (const [text, legacy, toml] of cases) {
    for (const [dialect, expected] of [["legacy", legacy], ["toml", toml]] as const) {
      const to = report(dialect);
      const endpoint = readEndpoint(text, to);
      assert.equal(endpoint && formatEndpoint(endpoint), expected, `${dialect} ${text}`);
      assert.equal(to.errors.length, expected === undefined ? 1 : 0, `${dialect} ${text}`);
    }
  }
});

Deno.test("a leading zero is octal, as ever, but no longer silently", () => {
  const to = report("legacy");
  assert.equal(readEndpoint("010.0.0.1:80", to)?.address, "8.0.0.1");
  assert.equal(to.warnings.length, 1);
});

Deno.test("service types", () => {
  const cases: Record<string, string | undefined> = {
    foo: "_foo._tcp",
    "FOO-1": "_FOO-1._tcp",
    "_foo._tcp": "_foo._tcp",
    "_foo._udp": "_foo._udp",
    abcdefghijklmno: "_abcdefghijklmno._tcp",
    "_foo": undefined,
    "_foo._TCP": undefined,
    "_foo._sctp": undefined,
    "1-2": undefined,
    "a b": undefined,
  };
  for (const [text, expected] of Object.entries(cases)) {
    assert.equal(readServiceType(text, report("toml")), expected, text);
  }
});

Deno.test("interface names", () => {
  for (const name of ["eth0", "eth0.100", "br-lan", "a".repeat(15), "wlan@x"]) {
    assert.equal(readInterface(name, report("toml")), name);
  }
  for (const name of ["a".repeat(16), "ü".repeat(8), "a b", "a/b", "eth0:1", ".", "..", "a\x7f"]) {
    assert.equal(readInterface(name, report("toml")), undefined, name);
    assert.equal(readInterface(name, report("legacy")), name);
  }
});

Deno.test("port names: TCP only, aliases, comments, first entry wins", () => {
  const lookUp = parsePortNames(
    "# services\nhttp\t80/tcp www # web\nntp 123/udp\nhttp 81/tcp\nzero 0/tcp\nbig 70000/tcp\nx\n",
  );
  assert.equal(lookUp("http"), 80);
  assert.equal(lookUp("www"), 80);
  for (const name of ["ntp", "zero", "big", "x", "#", "web", ""]) {
    assert.equal(lookUp(name), undefined, name);
  }
  assert.equal(lookUpWellKnownPort("https"), 443);
});
