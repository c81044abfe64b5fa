import { assert, fc } from "../testing.ts";
import { Deadlines, neverDue, type Timed } from "../../src/discovery/deadlines.ts";

type Operation =
  | { readonly op: "set"; readonly item: number; readonly at: number }
  | { readonly op: "next" }
  | { readonly op: "take"; readonly now: number };

const time = fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constant(Infinity));
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant("set"), item: fc.nat(9), at: time }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("next") }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("take"), now: time }) },
);

Deno.test("deadlines behave as a list that is searched", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 400 }), (operations) => {
      const deadlines = new Deadlines<Timed>();
      const items: Timed[] = Array.from({ length: 10 }, () => ({ ...neverDue }));
      const model = new Map<Timed, number>();
      const earliest = () => Math.min(Infinity, ...model.values());
      for (const step of operations) {
        if (step.op === "set") {
          const item = items[step.item]!;
          deadlines.set(item, step.at);
          if (step.at === Infinity) model.delete(item);
          else model.set(item, step.at);
        } else if (step.op === "take") {
          const expected = earliest();
          const taken = deadlines.take(step.now);
          if (expected > step.now || expected === Infinity) assert.equal(taken, undefined);
          else {
            assert.ok(taken);
            assert.equal(model.get(taken), expected);
            model.delete(taken);
          }
        }
        assert.equal(deadlines.next(), earliest());
        for (const item of items) assert.equal(item.dueAt, model.get(item) ?? Infinity);
        assert.ok(deadlines.length <= 2 * model.size + 65);
      }
    }),
    { numRuns: 500 },
  );
});
