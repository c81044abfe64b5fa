import { assert } from "../../testing.ts";
import { decodeMdns } from "../../lab/mdns_packet.ts";

const text = (value: string) => [...new TextEncoder().encode(value)];
const label = (value: string) => [text(value).length, ...text(value)];

Deno.test("an announcement is read, compression and dots in names included", () => {
  const bytes = new Uint8Array([
    ...[0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0],
    // at 12: _http._tcp.local PTR 4500 "a.b"._http._tcp.local
    ...[...label("_http"), ...label("_tcp"), ...label("local"), 0],
    ...[0, 12, 0, 1, 0, 0, 0x11, 0x94, 0, 6, ...label("a.b"), 0xc0, 12],
    // the same name SRV 120 0 0 8080 host.local
    ...[...label("a.b"), 0xc0, 12, 0, 33, 0x80, 1, 0, 0, 0, 120, 0, 13],
    ...[0, 0, 0, 0, 0x1f, 0x90, ...label("host"), 0xc0, 23],
  ]);
  const { response, questions, records } = decodeMdns(bytes);
  assert.equal(response, true);
  assert.deepEqual(questions, []);
  assert.deepEqual(records, [
    { name: "_http._tcp.local", type: "PTR", ttl: 4500, data: "a\\.b._http._tcp.local" },
    { name: "a\\.b._http._tcp.local", type: "SRV", ttl: 120, data: "host.local:8080" },
  ]);
});

Deno.test("a name that runs in circles is refused", () => {
  assert.throws(
    () => decodeMdns(new Uint8Array([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1])),
    RangeError,
  );
});
