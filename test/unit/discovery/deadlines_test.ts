import { assert } from "../../testing.ts";
import { Deadlines, neverDue, type Timed } from "../../../src/discovery/deadlines.ts";

const item = (): Timed => ({ ...neverDue });

Deno.test("an item is due at the last deadline it was given", () => {
  const deadlines = new Deadlines<Timed>();
  const one = item();
  deadlines.set(one, 10);
  deadlines.set(one, 30);
  assert.equal(deadlines.next(), 30);
  deadlines.set(one, 20);
  assert.equal(deadlines.next(), 20);
  assert.equal(deadlines.take(19), undefined);
  assert.equal(deadlines.take(20), one);
  assert.equal(deadlines.next(), Infinity);
  assert.equal(deadlines.take(Infinity), undefined);
});

Deno.test("items come in the order of their deadlines", () => {
  const deadlines = new Deadlines<Timed>();
  const items = [50, 10, 40, 20, 30].map((at) => {
    const one = item();
    deadlines.set(one, at);
    return one;
  });
  const order = [1, 3, 4, 2, 0].map((i) => items[i]);
  assert.deepEqual(order.map(() => deadlines.take(Infinity)), order);
});

Deno.test("renewing for ever occupies one place", () => {
  const deadlines = new Deadlines<Timed>();
  const one = item();
  for (let at = 0; at < 10_000; at++) deadlines.set(one, at);
  assert.equal(deadlines.length, 1);
});

Deno.test("neither flapping nor coming and going makes the queue grow", () => {
  const deadlines = new Deadlines<Timed>();
  const one = item();
  deadlines.set(one, 1e9);
  for (let i = 0; i < 10_000; i++) {
    deadlines.set(one, i);
    deadlines.take(i);
    deadlines.set(one, 1e9);
  }
  assert.ok(deadlines.length < 200, `${deadlines.length} places for one item`);
  for (let i = 0; i < 10_000; i++) {
    const passing = item();
    deadlines.set(passing, 1e9 + i);
    deadlines.set(passing, Infinity);
  }
  assert.ok(deadlines.length < 200, `${deadlines.length} places for one item`);
  assert.equal(deadlines.take(Infinity), one);
  assert.equal(deadlines.take(Infinity), undefined);
});
