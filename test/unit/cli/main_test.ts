/** `main.ts` as a process: what it prints where, and its exit status. */
import { assert } from "../../testing.ts";

const main = new URL("../../../main.ts", import.meta.url).pathname;

async function klb(args: readonly string[], permissions: readonly string[] = ["-A"]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...permissions, main, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("without a command it lists them and exits 64", async () => {
  const { code, stdout, stderr } = await klb([]);
  assert.equal(code, 64);
  assert.equal(stdout, "");
  for (const name of ["run", "check", "browse", "version", "help"]) {
    assert.match(stderr, RegExp(`^  ${name} `, "m"));
  }
});

Deno.test("help goes to standard output, in each of its spellings", async () => {
  const [overview, dashes, command, option] = await Promise.all([
    klb(["help"]),
    klb(["--help"]),
    klb(["help", "run"]),
    klb(["run", "--help"]),
  ]);
  assert.equal(overview.code, 0);
  assert.deepEqual(dashes, overview);
  assert.match(command.stdout, /--config FILE/);
  assert.deepEqual(option, command);
});

Deno.test("version names klb's and deno's", async () => {
  const { code, stdout } = await klb(["version"]);
  assert.equal(code, 0);
  assert.match(stdout, /^klb \d+\.\d+\.\d+ \(deno \d+\.\d+\.\d+\)\n$/);
});

Deno.test("a wrong command line is one line and exit status 64", async () => {
  const cases: readonly (readonly [readonly string[], string])[] = [
    [["rnu"], 'klb: unknown command rnu; did you mean "klb run"?\n'],
    [["destroy"], 'klb: unknown command destroy; "klb help" lists them\n'],
    [["help", "destroy"], 'klb: unknown command destroy; "klb help" lists them\n'],
    [
      ["run", "--confg", "x"],
      'klb: unknown option --confg; did you mean --config?; "klb help run" says what it takes\n',
    ],
    [
      ["run", "--log-level", "loud"],
      'klb: no log level loud; there are debug, info, warning, error; "klb help run" says what it takes\n',
    ],
  ];
  const results = await Promise.all(cases.map(([args]) => klb(args)));
  results.forEach(({ code, stdout, stderr }, i) => {
    assert.deepEqual({ code, stdout, stderr }, { code: 64, stdout: "", stderr: cases[i]![1] });
  });
});

Deno.test("run and check give the same messages for a wrong config, and exit 78", async () => {
  const file = await Deno.makeTempFile({ suffix: ".conf" });
  try {
    await Deno.writeTextFile(file, 'service {\n  bind "1.2.3.4"\n  schedular "rr"\n}\n');
    const [run, check] = await Promise.all([
      klb(["run", "--config", file]),
      klb(["check", "--config", file]),
    ]);
    assert.equal(run.code, 78);
    assert.deepEqual(run, check);
    const lines = run.stderr.trimEnd().split("\n");
    assert.equal(lines.length, 2);
    for (const line of lines) assert.match(line, /^\S+\.conf:[23]:\d+: .+; .+/);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("a permission that Deno withholds is one line and exit status 69", async () => {
  const file = await Deno.makeTempFile({ suffix: ".conf" });
  try {
    await Deno.writeTextFile(file, 'service {\n  bind "1.2.3.4:80"\n  zeroconf_service "foo"\n}\n');
    const { code, stderr } = await klb(["run", "--config", file], ["--allow-read"]);
    assert.equal(code, 69);
    assert.match(stderr, /^klb: Deno keeps klb from working: .*--allow-ffi.*\n$/);
  } finally {
    await Deno.remove(file);
  }
});
