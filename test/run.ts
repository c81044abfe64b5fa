// deno-lint-ignore-file no-console
/**
 * `deno task test` and `deno task ok`: runs checks and tests, one after the other, and adds them up.
 *
 * The last line is `N passed, N failed`; the exit status is 0 only when nothing failed and every
 * stage ran tests.
 *
 * @module
 */
import {
  ensurePackages,
  ensureResolved,
  labPackages,
  MissingPackagesError,
  resolvedPackage,
} from "./lab/packages.ts";

interface Stage {
  readonly name: string;
  readonly command: readonly string[];
  /** A check passes or fails as one; a test run says how many did. */
  readonly kind: "check" | "tests";
}

interface Count {
  readonly passed: number;
  readonly failed: number;
}

const root = new URL("..", import.meta.url).pathname;
const deno = Deno.execPath();

const testFlags = [
  "--allow-all",
  "--no-check",
  "--cached-only",
  "--frozen",
  "--sanitize-ops",
  "--sanitize-resources",
];

const tests = (name: string, ...paths: string[]): Stage => ({
  name,
  command: [deno, "test", "--parallel", ...testFlags, ...paths],
  kind: "tests",
});

const check = (name: string, ...args: string[]): Stage => ({
  name,
  command: [deno, ...args],
  kind: "check",
});

/** Seconds; what to run before every commit. */
const quick: readonly Stage[] = [
  check("formatting", "fmt", "--check", "--quiet"),
  check("lint", "lint", "--quiet"),
  check("types", "check", "--quiet", "--frozen", "main.ts", "test"),
  tests("rules, units, properties", "test/architecture_test.ts", "test/unit", "test/property"),
];

/** Minutes; everything. */
const all: readonly Stage[] = [
  ...quick,
  tests("simulation", "test/simulation"),
  tests("the lab from outside", "test/lab/host_test.ts"),
  {
    name: "the lab: a real kernel",
    command: [
      ...[deno, "run", "--allow-all", "test/lab/main.ts", "--timeout", "30m", "--"],
      ...[deno, "test", ...testFlags, "--ignore=test/lab/host_test.ts", "test/lab"],
    ],
    kind: "tests",
  },
];

/** `ok | 5 passed (2 steps) | 0 failed | 1 ignored (135ms)`, with which deno test ends. */
const closingLine = /^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed/gm;

async function run(stage: Stage): Promise<Count> {
  console.log(`\n=== ${stage.name}`);
  const started = performance.now();
  const [program, ...args] = stage.command;
  const process = new Deno.Command(program!, {
    args,
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let output = "";
  const decoder = new TextDecoder();
  for await (const chunk of process.stdout) {
    await writeAll(chunk);
    output += decoder.decode(chunk, { stream: true });
  }
  const { success, code } = await process.status;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `=== ${stage.name}: ${success ? "ok" : `failed (exit status ${code})`}, ${seconds} s`,
  );
  if (stage.kind === "check") return { passed: success ? 1 : 0, failed: success ? 0 : 1 };
  const closing = [...output.matchAll(closingLine)].at(-1);
  const passed = Number(closing?.[1] ?? 0);
  const failed = Number(closing?.[2] ?? 0);
  // A run that broke off, or ran nothing, is a failure even if it counted none.
  return { passed, failed: failed === 0 && (!success || passed === 0) ? 1 : failed };
}

async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) {
    rest = rest.subarray(await Deno.stdout.write(rest));
  }
}

const stages = Deno.args.includes("--quick") ? quick : all;
try {
  if (stages === all) {
    await ensurePackages(labPackages);
    const obstacle = await ensureResolved();
    if (obstacle) console.log(`without ${resolvedPackage}, whose tests are ignored: ${obstacle}`);
  }
} catch (error) {
  if (!(error instanceof MissingPackagesError)) throw error;
  console.error(error.message);
  Deno.exit(69);
}
// Downloads what the lock file names; everything after works from the cache alone.
const install = await new Deno.Command(deno, {
  args: ["install", "--frozen", "--quiet"],
  cwd: root,
  stdout: "inherit",
  stderr: "inherit",
}).output();
if (!install.success) Deno.exit(install.code);

const counts: (Count & { name: string })[] = [];
for (const stage of stages) counts.push({ name: stage.name, ...await run(stage) });
const passed = counts.reduce((sum, count) => sum + count.passed, 0);
const failed = counts.reduce((sum, count) => sum + count.failed, 0);
console.log("");
for (const count of counts) {
  console.log(`${count.name}: ${count.passed} passed, ${count.failed} failed`);
}
console.log(`\n${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
