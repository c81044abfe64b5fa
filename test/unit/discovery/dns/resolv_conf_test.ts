import {
  parseResolvConf,
  type ResolverSettings,
  resolverSettings,
} from "../../../../src/discovery/dns/resolv_conf.ts";
import { formatNameserver, parseNameserver } from "../../../../src/model/nameserver.ts";
import { assert, fc } from "../../../testing.ts";

function short({ servers, timeout, attempts }: ResolverSettings): unknown[] {
  return [servers.map(formatNameserver).join(" "), timeout, attempts];
}

Deno.test("resolv.conf: servers of both families in their order, zone and options", () => {
  const text = "# made by hand\n; and this\ndomain example.org\nsearch example.org org\n" +
    "nameserver 192.0.2.53\n  nameserver\tfe80::53%eth0 \nnameserver 2001:DB8::53\r\n" +
    "options ndots:2 timeout:3 rotate attempts:4\n";
  assert.deepEqual(short(parseResolvConf(text)), [
    "192.0.2.53 fe80::53%eth0 2001:db8::53",
    3000,
    4,
  ]);
});

Deno.test("resolv.conf: options have limits, what is not understood is passed over", () => {
  const limits = parseResolvConf("options timeout:99 attempts:99\nnameserver 192.0.2.1\n");
  assert.deepEqual(short(limits), ["192.0.2.1", 30_000, 5]);
  const zero = parseResolvConf(
    "options timeout:0 attempts:0\noptions\nnameserver\n#nameserver ::1",
  );
  assert.deepEqual(short(zero), ["127.0.0.1", 1000, 1]);
  const odd = "nameserver ns.example.org\nnameservers 192.0.2.2\noptions timeout:x attempts:-1\n";
  assert.deepEqual(short(parseResolvConf(odd)), ["127.0.0.1", 2000, 2]);
  const many = Array.from({ length: 20 }, (_, i) => `nameserver 192.0.2.${i}`).join("\n");
  assert.equal(parseResolvConf(many).servers.length, 8);
});

Deno.test("resolv.conf: nothing is an accident", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.ok(parseResolvConf(text).servers.length > 0);
  }));
});

Deno.test("configured servers are asked with patience of our own", () => {
  assert.deepEqual(short(resolverSettings([parseNameserver("192.0.2.9:54")!])), [
    "192.0.2.9:54",
    2000,
    2,
  ]);
});
