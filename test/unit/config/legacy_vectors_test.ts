/**
 * What the old daemon made of 109 configs (measured), against what we make of them.
 *
 * @module
 */
import { assert } from "../../testing.ts";
import { lookUpWellKnownPort } from "../../../src/config/port_names.ts";
import { ConfigError } from "../../../src/config/schema.ts";
import { parseLegacy } from "../../../src/config/legacy.ts";
import { formatEndpoint } from "../../../src/model/address.ts";
import vectors from "../../data/legacy_vectors.json" with { type: "json" };
import { memoryFiles } from "./memory_files.ts";

/** Rejected by the old daemon, accepted here: see the head of legacy.ts. */
const kinder = new Set(["bind_20", "set_1char_dq"]);

// The directory that inc_glob_none needs is empty, so the vectors do not list it.
const files = memoryFiles({ ...vectors.files, "empty.d/": "" });

function services(input: string): unknown[] {
  const config = parseLegacy("main", new TextEncoder().encode(input), files, lookUpWellKnownPort);
  return config.services.map((service) => ({
    bind: service.bind.map(formatEndpoint).join(),
    scheduler: service.scheduler,
    zeroconf_service: service.zeroconfService,
    zeroconf_domain: service.zeroconfDomain,
    zeroconf_interface: service.zeroconfInterface,
  }));
}

for (const vector of vectors.cases) {
  // There is no file to parse; load_test.ts has the missing file.
  if (vector.name === "toplevel_missing") continue;
  Deno.test(`legacy vector ${vector.name}`, () => {
    if (vector.ok) {
      const byBind = (list: unknown[]) => list.map((service) => JSON.stringify(service)).sort();
      assert.deepEqual(byBind(services(vector.input)), byBind(vector.services!));
      return;
    }
    if (kinder.has(vector.name)) {
      assert.equal(services(vector.input).length, 1);
      return;
    }
    assert.throws(() => services(vector.input), (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.equal(error.problems.length, 1, error.message);
      const [problem] = error.problems;
      const outermost = problem!.includedFrom?.[0] ?? problem!.position;
      if (vector.line !== undefined) assert.equal(outermost.line, vector.line, error.message);
      assert.equal(outermost.file, "main");
      return true;
    });
  });
}
