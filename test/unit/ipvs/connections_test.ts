import { countEnded } from "../../../src/ipvs/connections.ts";
import { assert } from "../../testing.ts";

const table = `Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP C0A86302 8D1C 01020304 0050 C0A8630B 1F90 TIME_WAIT       104
TCP C0A86302 8D1D 01020304 0050 C0A8630B 1F90 CLOSE             9
TCP C0A86302 8D1E 01020304 0050 C0A8630B 1F90 CLOSE_WAIT       50
TCP C0A86302 8D1F 01020304 0050 C0A8630B 1F90 ESTABLISHED     899
TCP C0A86302 8D20 01020304 0050 C0A8630C 1F90 TIME_WAIT       104
UDP C0A86302 8D21 01020304 0050 C0A8630B 1F90 TIME_WAIT       104
TCP 2001:0db8:0001:0000:0000:0000:0000:0064 8D1C 2001:0db8:0001:0000:0000:0000:0000:0004 0050 2001:0db8:0063:0000:0000:0000:0000:000b 0050 TIME_WAIT       104
TCP XYZ 8D20 01020304 0050 nonsense 1F90 TIME_WAIT 1
TIME_WAIT
`;

Deno.test("only connections that have ended count, each for its own object", () => {
  const v4 = "tcp 1.2.3.4:80 -> 192.168.99.11:8080";
  const v6 = "tcp [2001:db8:1::4]:80 -> [2001:db8:63::b]:80";
  assert.deepEqual([...countEnded(table, new Set([v4, v6, "tcp 9.9.9.9:9 -> 1.1.1.1:1"]))], [
    [v4, 2],
    [v6, 1],
  ]);
  assert.deepEqual([...countEnded("", new Set([v4]))], []);
});
