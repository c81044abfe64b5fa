import { UsageError } from "../../../src/cli/args.ts";
import { checkCommand } from "../../../src/cli/check.ts";
import { assert } from "../../testing.ts";

interface Result {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `klb check` on a file of this content; `FILE` in what it says stands for its path. */
async function check(name: string, text: string, ...args: string[]): Promise<Result> {
  const directory = await Deno.makeTempDir();
  const file = `${directory}/${name}`;
  const out: string[] = [];
  const err: string[] = [];
  try {
    await Deno.writeTextFile(file, text);
    const status = await checkCommand.run(["--config", file, ...args], {
      out: (line) => out.push(line),
      err: (line) => err.push(line),
      signal: new AbortController().signal,
      terminal: undefined,
    });
    const shorten = (lines: string[]) => lines.join("\n").replaceAll(file, "FILE");
    return { status, out: shorten(out), err: shorten(err) };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const good = '[[service]]\nbind = "192.0.2.1:80"\nzeroconf_service = "foo"\n';

Deno.test("check: a right config is one line", async () => {
  assert.deepEqual(await check("klb.toml", good), {
    status: 0,
    out: "FILE: OK, 1 service",
    err: "",
  });
});

Deno.test("check: warnings go to standard error and do not fail", async () => {
  assert.deepEqual(await check("klb.conf", "service {\n  bind 192.0.2.1:80\n}\n"), {
    status: 0,
    out: "FILE: OK, 1 service, 1 warning",
    err: "FILE:1:1: warning: the service has no zeroconf_service, so it stays empty; " +
      'add zeroconf_service "foo", the type its servers announce',
  });
});

Deno.test("check: every problem is a line on standard error, in order", async () => {
  const { status, out, err } = await check(
    "klb.conf",
    "service {\n  scheduler x\n  bind y\n}\nfoo\n}\n",
  );
  assert.equal(status, 78);
  assert.equal(out, "");
  assert.deepEqual(
    err.split("\n").map((line) => /^FILE:\d+:\d+: .+; .+$/.test(line) && line.split(": ")[0]),
    ["FILE:2:13", "FILE:3:8", "FILE:5:1", "FILE:6:1"],
  );
});

Deno.test("check --json: the config as understood", async () => {
  const { status, out, err } = await check(
    "klb.toml",
    'zeroconf_max_ttl = "90s"\n' + good,
    "--json",
  );
  assert.equal(status, 0);
  assert.equal(err, "");
  assert.deepEqual(JSON.parse(out), {
    file: "FILE",
    zeroconf_max_ttl: "90s",
    dns_resolvers: [],
    services: [{
      name: "foo",
      bind: ["192.0.2.1:80"],
      scheduler: "rr",
      zeroconf_service: "_foo._tcp",
      zeroconf_domain: "",
      zeroconf_interface: "",
      dns_srv: "",
      drain_timeout: "5m",
      source: { file: "FILE", line: 2, column: 1 },
    }],
    warnings: [],
  });
});

Deno.test("check --json: the problems", async () => {
  const { status, out, err } = await check("klb.toml", good + "sheduler = 1\n", "--json");
  assert.equal(status, 78);
  assert.deepEqual(JSON.parse(out), {
    errors: [{
      file: "FILE",
      line: 4,
      column: 1,
      included_from: [],
      setting: "service.0.sheduler",
      what: 'unknown setting "sheduler"',
      fix: 'did you mean "scheduler"?',
    }],
  });
  assert.equal(err, 'FILE:4:1: unknown setting "sheduler"; did you mean "scheduler"?');
});

Deno.test("check: a missing file is a problem like any other", async () => {
  const err: string[] = [];
  const status = await checkCommand.run(["--config", "/nonexistent/klb.conf"], {
    out: () => assert.fail("nothing to say"),
    err: (line) => err.push(line),
    signal: new AbortController().signal,
    terminal: undefined,
  });
  assert.equal(status, 78);
  assert.match(err.join("\n"), /^\/nonexistent\/klb\.conf:1:1: .*no such file; .*$/);
});

Deno.test("check: a wrong command line rejects", async () => {
  const context = {
    out: () => {},
    err: () => {},
    signal: new AbortController().signal,
    terminal: undefined,
  };
  await assert.rejects(checkCommand.run(["--jsn"], context), UsageError);
  await assert.rejects(checkCommand.run(["klb.conf"], context), UsageError);
});
