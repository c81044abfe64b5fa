import { parseArguments, UsageError } from "../../../src/cli/args.ts";
import { nearest } from "../../../src/suggest.ts";
import { assert } from "../../testing.ts";

const options = { config: { type: "string" }, json: { type: "boolean" } } as const;

Deno.test("options and words are told apart", () => {
  const { values, positionals } = parseArguments(["--config=a", "b", "--json"], options, true);
  assert.deepEqual({ ...values }, { config: "a", json: true });
  assert.deepEqual(positionals, ["b"]);
});

Deno.test("what is wrong with a command line is one line for its author", () => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [["--confg", "x"], "unknown option --confg; did you mean --config?"],
    [["--zzz"], "unknown option --zzz"],
    [["-c"], "unknown option -c"],
    [["stray"], "unexpected argument stray"],
    [["--config"], "--config wants a value"],
  ];
  for (const [args, message] of cases) {
    assert.throws(() => parseArguments(args, options), new UsageError(message));
  }
});

Deno.test("a suggestion is near, or there is none", () => {
  const words = ["run", "check", "version", "help"];
  assert.equal(nearest("rnu", words), "run");
  assert.equal(nearest("chekc", words), "check");
  assert.equal(nearest("vresion", words), "version");
  assert.equal(nearest("destroy", words), undefined);
  assert.equal(nearest("x", words), undefined);
});
