import {
  compareProblems,
  ConfigError,
  formatProblem,
  formatWarning,
  type Problem,
  quote,
} from "../../../src/config/problem.ts";
import { assert } from "../../testing.ts";

function problem(file: string, line: number, column: number, ...from: number[]): Problem {
  const includedFrom = from.map((line) => ({ file: "main", line, column: 1 }));
  return { position: { file, line, column }, includedFrom, what: "is wrong", fix: "make it right" };
}

Deno.test("a problem is one line, outermost include first", () => {
  assert.equal(formatProblem(problem("main", 3, 4)), "main:3:4: is wrong; make it right");
  assert.equal(
    formatProblem(problem("a", 3, 4, 1)),
    "main:1:1: in a:3:4: is wrong; make it right",
  );
  assert.equal(formatWarning(problem("main", 3, 4)), "main:3:4: warning: is wrong; make it right");
});

Deno.test("nothing in a config reaches a terminal as a control character", () => {
  const text = formatProblem({ ...problem("a\nb", 1, 1), what: "\x1b[31m\u2028" });
  assert.equal(text, "a\\x0ab:1:1: \\x1b[31m\\x2028; make it right");
});

Deno.test("problems sort as they are met, following includes", () => {
  const ordered = [
    problem("main", 1, 5),
    problem("a", 9, 1, 2),
    problem("b", 1, 1, 2),
    problem("main", 2, 2),
    problem("main", 10, 1),
  ];
  assert.deepEqual(ordered.toReversed().sort(compareProblems), ordered);
});

Deno.test("ConfigError's message has every problem", () => {
  const error = new ConfigError([problem("main", 1, 1), problem("main", 2, 1)]);
  assert.equal(error.message.split("\n").length, 2);
});

Deno.test("quoted text stays readable and short", () => {
  assert.equal(quote("a"), '"a"');
  assert.equal(quote('a"b'), "'a\"b'");
  assert.ok(quote("x".repeat(1000)).length < 70);
});
