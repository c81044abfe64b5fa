import { assert } from "../../testing.ts";
import { destinationsOf, parseIpvsadmTable, parseProcTable } from "../../lab/table.ts";

const proc = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  [2001:0db8:0001:0000:0000:0000:0000:0004]:0050 sh sh-port 
  -> [2001:0db8:0099:0000:0000:0000:0000:000b]:1F90      Masq    1      0          2         
TCP  01020304:01BB wrr persistent 300 FFFFFF00
  -> C0A8630B:01BB      Route   0      7          0         
  -> C0A8630C:01BB      Tunnel  100    0          0         
FWM  0000000A rr 
`;

const ipvsadm = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  [2001:db8:1::4]:80 sh (sh-port)
  -> [2001:db8:99::b]:8080        Masq    1      0          2         
TCP  1.2.3.4:443 wrr persistent 300 mask 255.255.255.0
  -> 192.168.99.11:443            Route   0      7          0         
  -> 192.168.99.12:443            Tunnel  100    0          0         
FWM  10 IPv6 rr
`;

Deno.test("both witnesses' texts are read alike", () => {
  const [a, b] = [parseProcTable(proc), parseIpvsadmTable(ipvsadm)];
  const bare = (table: typeof a) => table.map(({ flags: _, ...rest }) => rest);
  assert.deepEqual(bare(a), bare(b));
  assert.deepEqual(a.map((each) => each.key), [
    "tcp [2001:db8:1::4]:80",
    "tcp 1.2.3.4:443",
    "fwmark 10",
  ]);
  assert.equal(a[1]!.flags, "persistent 300 FFFFFF00");
  assert.deepEqual(a[1]!.destinations[0], {
    address: "192.168.99.11",
    port: 443,
    forwarding: "direct",
    weight: 0,
    activeConnections: 7,
    inactiveConnections: 0,
  });
  assert.deepEqual(destinationsOf(a, "tcp [2001:db8:1::4]:80"), ["[2001:db8:99::b]:8080"]);
  assert.deepEqual(destinationsOf(a, "tcp 9.9.9.9:1"), []);
});

Deno.test("an empty table is empty", () => {
  assert.deepEqual(parseProcTable(proc.split("\n").slice(0, 3).join("\n")), []);
});
