import {
  defaultDnsPort,
  formatNameserver,
  parseNameserver,
} from "../../../src/model/nameserver.ts";
import { assert } from "../../testing.ts";

Deno.test("nameservers as people and resolv.conf write them", () => {
  const parsed = (text: string) => {
    const server = parseNameserver(text);
    return server && [server.address, server.port, server.zone];
  };
  assert.equal(defaultDnsPort, 53);
  assert.deepEqual(parsed("192.0.2.53"), ["192.0.2.53", 53, ""]);
  assert.deepEqual(parsed("192.0.2.53:5353"), ["192.0.2.53", 5353, ""]);
  assert.deepEqual(parsed("2001:db8::53"), ["2001:db8::53", 53, ""]);
  assert.deepEqual(parsed("[2001:DB8::53]"), ["2001:db8::53", 53, ""]);
  assert.deepEqual(parsed("[2001:db8::53]:5353"), ["2001:db8::53", 5353, ""]);
  assert.deepEqual(parsed("2001:db8::53:5353"), ["2001:db8::53:5353", 53, ""]);
  assert.deepEqual(parsed("fe80::53%eth0"), ["fe80::53", 53, "eth0"]);
  assert.deepEqual(parsed("[fe80::53%eth0.7]:54"), ["fe80::53", 54, "eth0.7"]);
});

Deno.test("nameservers that are none", () => {
  for (
    const text of [
      ...["", "53", "192.0.2", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "::1:x"],
      ...["192.0.2.53%eth0", "[192.0.2.53]:53", "[2001:db8::53", "2001:db8::53]", "fe80::1%"],
      ...["fe80::1%a b", "fe80::1%a%b", "[fe80::1]53", "ns.example.org", "[::1]:53:53"],
    ]
  ) {
    assert.equal(parseNameserver(text), undefined, text);
  }
});

Deno.test("a nameserver is written as it is read", () => {
  for (
    const text of ["192.0.2.53", "192.0.2.53:54", "2001:db8::53", "[fe80::53%eth0]:54", "::1%lo"]
  ) {
    assert.equal(formatNameserver(parseNameserver(text)!), text);
  }
});
