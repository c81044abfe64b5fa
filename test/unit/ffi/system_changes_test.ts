/** What this shows without a network of its own; `test/lab/interfaces_test.ts` changes one. */
import { watchSystem } from "../../../ffi/system_changes.ts";
import { assert } from "../../testing.ts";

Deno.test("a watch of the system ends at once, leaves nothing behind, and may be ended twice", async () => {
  const before = [...Deno.readDirSync("/proc/self/fd")].length;
  let changes = 0;
  const watch = watchSystem(() => changes++);
  assert.equal([...Deno.readDirSync("/proc/self/fd")].length, before + 3);
  await watch[Symbol.asyncDispose]();
  await watch[Symbol.asyncDispose]();
  assert.equal([...Deno.readDirSync("/proc/self/fd")].length, before);
  assert.equal(changes, 0);
});
