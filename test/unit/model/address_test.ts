import {
  compareIp,
  familyOf,
  formatEndpoint,
  type Ip,
  ipFromBytes,
  ipToBytes,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isUnspecified,
  parseIp,
} from "../../../src/model/address.ts";
import { assert, fc } from "../../testing.ts";

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(`${text} is an address`);

Deno.test("an address has one canonical text (RFC 5952)", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["192.0.2.1", "192.0.2.1"],
    ["0.0.0.0", "0.0.0.0"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["2001:0db8::0001", "2001:db8::1"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["::FFFF:c000:201", "::ffff:192.0.2.1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
  ];
  for (const [written, canonical] of cases) assert.equal(parseIp(written), canonical, written);
});

Deno.test("what is no address is none", () => {
  const wrong = [
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.4 ",
    "+1.2.3.4",
    "1..2.3",
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8",
    "1::2::3",
    "12345::",
    "::g",
    "::1.2.3",
    "1.2.3.4::",
    "fe80::1%eth0",
    "[::1]",
  ];
  for (const text of wrong) assert.equal(parseIp(text), undefined, text);
});

Deno.test("bytes and text are the same address", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    // Long runs of zeros are where the text is shortened.
    fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 }).map((array) =>
      Uint8Array.from(array)
    ),
  );
  fc.assert(fc.property(bytes, (bytes) => {
    const address = ipFromBytes(bytes);
    assert.deepEqual(ipToBytes(address), bytes);
    assert.equal(parseIp(address), address);
    assert.equal(familyOf(address), bytes.length === 4 ? "ipv4" : "ipv6");
  }));
  assert.throws(() => ipFromBytes(new Uint8Array(5)), RangeError);
});

Deno.test("addresses sort by number, IPv4 first", () => {
  const sorted = ["9.0.0.1", "10.0.0.2", "10.0.0.10", "::1", "2001:db8::1", "fe80::1"].map(ip);
  assert.deepEqual(sorted.toReversed().sort(compareIp), sorted);
});

Deno.test("an endpoint shows where the address ends", () => {
  assert.equal(formatEndpoint({ address: ip("192.0.2.1"), port: 80 }), "192.0.2.1:80");
  assert.equal(formatEndpoint({ address: ip("2001:db8::1"), port: 443 }), "[2001:db8::1]:443");
});

Deno.test("kinds of addresses", () => {
  const kinds = (address: string) =>
    [isLinkLocal, isLoopback, isMulticast, isUnspecified]
      .filter((is) => is(ip(address))).map(({ name }) => name);
  assert.deepEqual(kinds("169.254.1.1"), ["isLinkLocal"]);
  assert.deepEqual(kinds("fe80::1"), ["isLinkLocal"]);
  assert.deepEqual(kinds("febf::1"), ["isLinkLocal"]);
  assert.deepEqual(kinds("fec0::1"), []);
  assert.deepEqual(kinds("127.255.0.1"), ["isLoopback"]);
  assert.deepEqual(kinds("::1"), ["isLoopback"]);
  assert.deepEqual(kinds("239.1.1.1"), ["isMulticast"]);
  assert.deepEqual(kinds("ff02::fb"), ["isMulticast"]);
  assert.deepEqual(kinds("0.0.0.0"), ["isUnspecified"]);
  assert.deepEqual(kinds("::"), ["isUnspecified"]);
  assert.deepEqual(kinds("192.0.2.1"), []);
});
