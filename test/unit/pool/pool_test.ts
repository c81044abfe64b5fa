import { Pool } from "../../../src/pool/pool.ts";
import { found, lost, settled, target } from "../../fakes/instances.ts";
import { assert } from "../../testing.ts";

const members = (pool: Pool) => [...pool.members.keys()].sort();
const departures = (pool: Pool) =>
  [...pool.departures].map(([endpoint, { cause }]) => `${endpoint} ${cause}`).sort();

Deno.test("an announced instance is a member until it is lost, and the cause is kept", () => {
  const pool = new Pool("ipv4");
  assert.equal(pool.handle(found("a", [target(80, ["10.0.0.1"])])), true);
  assert.deepEqual(members(pool), ["10.0.0.1:80"]);
  assert.equal(pool.handle(lost("a", "expired")), true);
  assert.deepEqual(members(pool), []);
  assert.deepEqual(departures(pool), ["10.0.0.1:80 expired"]);
  pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  assert.deepEqual(departures(pool), [], "a member that is back has not departed");
});

Deno.test("two instances on one address and port are one member that leaves with the last", () => {
  const pool = new Pool("ipv4");
  pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  pool.handle(found("b", [target(80, ["10.0.0.1"])]));
  assert.deepEqual(members(pool), ["10.0.0.1:80"]);
  pool.handle(lost("a"));
  assert.deepEqual(members(pool), ["10.0.0.1:80"]);
  assert.deepEqual(departures(pool), []);
  pool.handle(lost("b"));
  assert.deepEqual(members(pool), []);
});

Deno.test("an instance seen through two interfaces leaves with the last of them", () => {
  const pool = new Pool("ipv4");
  pool.handle(found("a", [target(80, ["10.0.0.1"])], 2));
  pool.handle(found("a", [target(80, ["10.0.0.1"])], 3));
  pool.handle(lost("a", "interface", 3));
  assert.deepEqual(members(pool), ["10.0.0.1:80"]);
  pool.handle(lost("a", "interface", 2));
  assert.deepEqual(members(pool), []);
});

Deno.test("an instance that changes its port or address moves", () => {
  const pool = new Pool("ipv4");
  pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  pool.handle(found("a", [target(81, ["10.0.0.1"])]));
  assert.deepEqual(members(pool), ["10.0.0.1:81"]);
  assert.deepEqual(departures(pool), ["10.0.0.1:80 moved"]);
  pool.handle(found("a", [target(81, ["10.0.0.2"])]));
  assert.deepEqual(members(pool), ["10.0.0.2:81"]);
});

Deno.test("a host with several addresses is one member, and keeps the address it has", () => {
  const pool = new Pool("ipv4");
  pool.handle(found("a", [target(80, ["10.0.0.2", "10.0.0.3"])]));
  assert.deepEqual(members(pool), ["10.0.0.2:80"]);
  assert.equal(pool.handle(found("a", [target(80, ["10.0.0.1", "10.0.0.2"])])), false);
  assert.deepEqual(members(pool), ["10.0.0.2:80"]);
  pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  assert.deepEqual(members(pool), ["10.0.0.1:80"]);
});

Deno.test("routable addresses go before link-local ones, which still beat nothing", () => {
  const pool = new Pool("ipv4");
  pool.handle(found("a", [target(80, ["9.9.9.9", "169.254.0.1"])]));
  pool.handle(found("b", [target(80, ["169.254.0.2"])]));
  assert.deepEqual(members(pool), ["169.254.0.2:80", "9.9.9.9:80"]);
});

Deno.test("only addresses of the pool's family that can be destinations count", () => {
  const v6 = new Pool("ipv6");
  v6.handle(found("a", [target(80, ["10.0.0.1", "fe80::1", "2001:db8::1"])]));
  v6.handle(found("b", [target(80, ["10.0.0.2", "fe80::2"])]));
  assert.deepEqual(members(v6), ["[2001:db8::1]:80"]);
  const v4 = new Pool("ipv4");
  for (const address of ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "2001:db8::1"]) {
    assert.equal(v4.handle(found("a", [target(80, [address])])), false, address);
  }
  assert.deepEqual(members(v4), []);
});

Deno.test("each SRV target is a member", () => {
  const pool = new Pool("ipv4");
  pool.handle(found("a", [target(80, ["10.0.0.1"], "one"), target(80, ["10.0.0.2"], "two")]));
  assert.deepEqual(members(pool), ["10.0.0.1:80", "10.0.0.2:80"]);
  pool.handle(found("a", [target(80, ["10.0.0.2"], "two")]));
  assert.deepEqual(members(pool), ["10.0.0.2:80"]);
});

Deno.test("SRV priority and weight and TXT reach the member, and so does their change", () => {
  const pool = new Pool("ipv4");
  const event = (weight: number, txt: Record<string, string>) => {
    const event = found("a", [{ ...target(80, ["10.0.0.1"]), priority: 1, weight }]);
    if (event.type !== "found") throw new TypeError();
    return { ...event, instance: { ...event.instance, txt: new Map(Object.entries(txt)) } };
  };
  assert.equal(pool.handle(event(5, { weight: "2.0" })), true);
  const [source] = pool.members.get("10.0.0.1:80")!.sources.values();
  assert.equal(source!.priority, 1);
  assert.equal(source!.weight, 5);
  assert.equal(source!.txt.get("weight"), "2.0");
  assert.equal(pool.handle(event(5, { weight: "2.0" })), false);
  assert.equal(pool.handle(event(5, { weight: "3.0" })), true);
  assert.equal(pool.handle(event(6, { weight: "3.0" })), true);
  assert.deepEqual(members(pool), ["10.0.0.1:80"]);
  assert.deepEqual(departures(pool), []);
});

Deno.test("what changes nothing says so", () => {
  const pool = new Pool("ipv4");
  assert.equal(pool.handle(lost("unknown")), false);
  pool.handle(found("a", [target(80, ["10.0.0.1"])]));
  assert.equal(pool.handle(found("a", [target(80, ["10.0.0.1"])])), false);
  assert.equal(pool.settled, false);
  assert.equal(pool.handle(settled()), true);
  assert.equal(pool.handle(settled()), false);
  assert.equal(pool.settled, true);
});
