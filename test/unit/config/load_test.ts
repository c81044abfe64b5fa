/**
 * Finding and reading configs on a real disk.
 *
 * @module
 */
import { loadConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/config/schema.ts";
import { assert } from "../../testing.ts";

function withDirectory(run: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync();
  try {
    run(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function message(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message;
  }
  assert.fail("the config was accepted");
}

const legacy = 'service {\nbind "192.0.2.1:http"\n}\n';
const toml = '[[service]]\nbind = "192.0.2.2:80"\n';

Deno.test("the suffix chooses the dialect", () => {
  withDirectory((directory) => {
    Deno.writeTextFileSync(`${directory}/a.toml`, toml);
    Deno.writeTextFileSync(`${directory}/a.conf`, legacy);
    assert.equal(loadConfig(`${directory}/a.toml`).services[0]!.name, "192.0.2.2:80");
    assert.equal(loadConfig(`${directory}/a.conf`).services[0]!.name, "192.0.2.1:80");
  });
});

Deno.test("the first candidate that exists is taken, even when it is wrong", () => {
  withDirectory((directory) => {
    const candidates = [`${directory}/a.toml`, `${directory}/b.conf`];
    assert.equal(
      message(() => loadConfig(undefined, candidates)),
      `${directory}/a.toml:1:1: there is no config: none of ${directory}/a.toml, ` +
        `${directory}/b.conf exists; create one of them, or name another with --config FILE`,
    );
    Deno.writeTextFileSync(`${directory}/b.conf`, legacy);
    assert.equal(loadConfig(undefined, candidates).file, `${directory}/b.conf`);
    Deno.mkdirSync(`${directory}/a.toml`);
    assert.match(
      message(() => loadConfig(undefined, candidates)),
      /a\.toml:1:1: .* is a directory;/,
    );
  });
});

Deno.test("what cannot be read is said in words", () => {
  withDirectory((directory) => {
    const file = `${directory}/klb.conf`;
    assert.equal(
      message(() => loadConfig(file)),
      `${file}:1:1: cannot read the config: there is no such file; create the file, or correct ` +
        "the path",
    );
    Deno.writeFileSync(file, new Uint8Array((1 << 20) + 1).fill(0x0a));
    assert.match(message(() => loadConfig(file)), /larger than 1 MiB; /);
    Deno.writeFileSync(file, new Uint8Array(1 << 20).fill(0x0a));
    assert.match(message(() => loadConfig(file)), /no service is configured; /);
    assert.match(message(() => loadConfig("/dev/zero")), /not a regular file; /);
    assert.match(message(() => loadConfig(`${file}/x`)), /there is no such file; /);
    assert.match(message(() => loadConfig(`${directory}/${"x".repeat(300)}`)), /; /);
    assert.match(message(() => loadConfig("")), /; /);
  });
});

Deno.test("includes come from the disk, relative to their files", () => {
  withDirectory((directory) => {
    Deno.mkdirSync(`${directory}/klb.d`);
    Deno.writeTextFileSync(`${directory}/klb.conf`, '@include "klb.d/*.conf"\n');
    Deno.writeTextFileSync(`${directory}/klb.d/.b.conf`, legacy);
    Deno.writeTextFileSync(`${directory}/klb.d/a.conf`, '@include "../c"\n');
    Deno.writeTextFileSync(`${directory}/c`, legacy.replace("2.1", "2.3"));
    assert.deepEqual(
      loadConfig(`${directory}/klb.conf`).services.map(({ name }) => name),
      ["192.0.2.1:80", "192.0.2.3:80"],
    );
    Deno.writeTextFileSync(`${directory}/klb.conf`, '@include "nothing.d/*.conf"\n');
    assert.match(
      message(() => loadConfig(`${directory}/klb.conf`)),
      /klb\.conf:1:10: cannot include "nothing\.d\/\*\.conf": there is no such directory; /,
    );
  });
});

Deno.test("the examples that are shipped are right", () => {
  for (const file of ["klb.conf", "klb.toml"]) {
    const path = new URL(`../../../packaging/examples/${file}`, import.meta.url).pathname;
    const config = loadConfig(path);
    assert.deepEqual(config.warnings, [], file);
    assert.ok(config.services.every(({ zeroconfService }) => zeroconfService !== ""), file);
  }
});
