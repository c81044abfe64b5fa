import { locateToml, type TomlPath } from "../../../src/config/toml_positions.ts";
import { assert } from "../../testing.ts";

const text = `# comment with = and [brackets]
a = "x = [1] # not a comment"
b.'c d'."e\\u0066" = [ "1", # comment ]
  '2, 3', { k = 1979-05-27 07:32:00, l.m = [[], [true]] }, ]

[table]
long = """
[[not.a.header]] ""quoted"" \\""" """
five = """x"""""
raw = '''
key = "value" '''

[table.sub]
x = 1
[[list]]
x = 2
[list.deep]
y = 3
  [[list]]
  [[list.inner]]
  z = +inf
  [[list.inner]]
  "z" = 0x1F
[top."dotted key".below]
`.replaceAll("\n", "\r\n");

const positions = locateToml(text);

function at({ line, column }: { line: number; column: number }): string {
  return text.split("\n")[line - 1]!.slice(column - 1);
}

function assertAt(path: TomlPath, key: string, value: string): void {
  assert.ok(at(positions.key(path)).startsWith(key), `key of ${path}: ${at(positions.key(path))}`);
  assert.ok(
    at(positions.value(path)).startsWith(value),
    `value of ${path}: ${at(positions.value(path))}`,
  );
}

Deno.test("keys and values are found in every form TOML has", () => {
  assertAt(["a"], "a =", '"x =');
  assertAt(["b", "c d", "ef"], '"e\\u0066"', '[ "1"');
  assertAt(["b", "c d", "ef", 0], '"1"', '"1"');
  assertAt(["b", "c d", "ef", 1], "'2, 3'", "'2, 3'");
  assertAt(["b", "c d", "ef", 2, "k"], "k =", "1979-05-27 07:32:00");
  assertAt(["b", "c d", "ef", 2, "l", "m", 1, 0], "true", "true");
  assertAt(["table"], "[table]", "[table]");
  assertAt(["table", "long"], "long", '"""');
  assertAt(["table", "raw"], "raw", "'''");
  assertAt(["table", "sub", "x"], "x = 1", "1");
  assertAt(["list", 0], "[[list]]", "[[list]]");
  assertAt(["list", 0, "x"], "x = 2", "2");
  assertAt(["list", 0, "deep", "y"], "y = 3", "3");
  assertAt(["list", 1], "[[list]]", "[[list]]");
  assertAt(["list", 1, "inner", 0, "z"], "z = +inf", "+inf");
  assertAt(["list", 1, "inner", 1, "z"], '"z"', "0x1F");
  assertAt(["top", "dotted key"], '[top."dotted', '[top."dotted');
  assert.deepEqual(positions.key(["list", 1]), { line: 19, column: 3 });
});

Deno.test("what is not there is placed at what is around it", () => {
  assertAt(["table", "sub", "nothing", 3], "[table.sub]", "[table.sub]");
  assert.deepEqual(positions.key(["nothing"]), { line: 1, column: 1 });
});
