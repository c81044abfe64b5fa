/**
 * The import rules of the code, executable.
 *
 * A module that touches the world (sockets, files, timers, the clock) says `[shell]` in its module
 * comment; every other one is pure: it is handed `now`, decides, and can be tested without a world.
 */
import { dirname, join, normalize, relative } from "node:path";
import { assert } from "./testing.ts";

const root = join(import.meta.dirname!, "..");

interface Module {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  readonly shell: boolean;
  readonly imports: readonly string[];
}

function* sourceFiles(directory: string): Iterable<string> {
  for (const entry of Deno.readDirSync(directory)) {
    const path = join(directory, entry.name);
    if (entry.isDirectory && entry.name !== "node_modules" && !entry.name.startsWith(".")) {
      yield* sourceFiles(path);
    } else if (entry.isFile && entry.name.endsWith(".ts")) {
      yield path;
    }
  }
}

const modules: Module[] = [...sourceFiles(root)].map((file) => {
  const text = Deno.readTextFileSync(file);
  const comment = /^(?:\/\/.*\n)*\/\*\*[\s\S]*?\*\//.exec(text)?.[0] ?? "";
  const imports = [...text.matchAll(/^(?:import|export)\b[^;]*?from "([^"]+)"/gm)]
    .concat([...text.matchAll(/\bimport\("([^"]+)"\)/g)])
    .map(([, specifier]) =>
      specifier!.startsWith(".")
        ? relative(root, normalize(join(dirname(file), specifier!)))
        : specifier!
    );
  return { path: relative(root, file), text, shell: comment.includes("[shell]"), imports };
});

const byPath = new Map(modules.map((module) => [module.path, module]));
const inSource = modules.filter(({ path }) => path.startsWith("src/"));
const code = modules.filter(({ path }) => !path.startsWith("test/"));

/** Every violation of a rule in one assertion, so that one run shows them all. */
function expectNone(violations: readonly string[]): void {
  assert.deepEqual(violations, []);
}

function importsOf(
  from: readonly Module[],
  isForbidden: (specifier: string, module: Module) => boolean,
): string[] {
  return from.flatMap((module) =>
    module.imports.filter((specifier) => isForbidden(specifier, module))
      .map((specifier) => `${module.path} imports ${specifier}`)
  );
}

const under = (folder: string) => modules.filter(({ path }) => path.startsWith(`${folder}/`));

Deno.test("the rules see the code", () => {
  assert.ok(inSource.length > 20, `${inSource.length} modules`);
  assert.ok(byPath.get("src/daemon.ts")?.shell);
  assert.ok(byPath.get("src/daemon.ts")?.imports.includes("src/plan/diff.ts"));
});

Deno.test("the model imports nothing", () => {
  expectNone(importsOf(under("src/model"), (to) => !to.startsWith("src/model/")));
});

Deno.test("plan and ipvs do not know each other", () => {
  expectNone(importsOf(under("src/plan"), (to) => to.startsWith("src/ipvs/")));
  expectNone(importsOf(under("src/ipvs"), (to) => to.startsWith("src/plan/")));
});

Deno.test("ffi imports nothing of src, and only main.ts imports ffi", () => {
  expectNone(importsOf(under("ffi"), (to) => to.startsWith("src/")));
  const others = code.filter(({ path }) => path !== "main.ts" && !path.startsWith("ffi/"));
  expectNone(importsOf(others, (to) => to.startsWith("ffi/")));
});

Deno.test("code imports no tests", () => {
  expectNone(importsOf(code, (to) => to.startsWith("test/")));
});

Deno.test("pure modules import no shells", () => {
  const pure = inSource.filter(({ shell }) => !shell);
  expectNone(importsOf(pure, (to) => byPath.get(to)?.shell ?? false));
});

Deno.test("pure modules touch neither clock nor chance nor the system", () => {
  const world =
    /\b(Date\.now|new Date\(\)|performance\.|Math\.random|set(?:Timeout|Interval)\(|Deno\.)/;
  const withoutComments = (text: string) =>
    text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  expectNone(
    inSource.filter(({ shell, text }) => !shell && world.test(withoutComments(text)))
      .map(({ path, text }) => `${path} uses ${world.exec(withoutComments(text))![1]}`),
  );
});

Deno.test("each replaceable library has one importer", () => {
  const homes: Readonly<Record<string, string>> = {
    "@logtape/logtape": "src/log.ts",
    "smol-toml": "src/config/toml_library.ts",
    "node:util": "src/cli/args.ts",
    "node:assert/strict": "test/testing.ts",
    "fast-check": "test/testing.ts",
    "multicast-dns": "src/discovery/mdns/sockets.ts",
  };
  const products = modules.filter(({ path }) => !path.startsWith("test/lab/"));
  expectNone(importsOf(products, (to, { path }) => to in homes && homes[to] !== path));
});

Deno.test("imports lead to files that exist", () => {
  const local = (to: string) => /^(main\.ts$|src\/|ffi\/|test\/)/.test(to) && to.endsWith(".ts");
  expectNone(importsOf(modules, (to) => local(to) && !byPath.has(to)));
});

Deno.test("every module of the product says what it is for", () => {
  expectNone(
    code.filter(({ text }) => !/^(?:\/\/.*\n)*\/\*\*[\s\S]*?@module\n \*\//.test(text)).map((
      { path },
    ) => path),
  );
});

Deno.test("every exported function and type of the product has a docstring", () => {
  const undocumented = (text: string) =>
    [...text.matchAll(
      /^(.*)\n(?:\/\/ deno-lint.*\n)?export (?:async |abstract |declare )*(?:function\*?|class|interface|type|const|enum) (\w+)/gm,
    )].filter(([, before, name]) => !before!.endsWith("*/") && !isOverload(text, name!))
      .map(([, , name]) => name!);
  const isOverload = (text: string, name: string) =>
    text.match(new RegExp(`^export function ${name}\\(`, "gm"))?.length !== undefined &&
    text.match(new RegExp(`^export function ${name}\\(`, "gm"))!.length > 1;
  expectNone(code.flatMap(({ path, text }) => undocumented(text).map((name) => `${path} ${name}`)));
});
