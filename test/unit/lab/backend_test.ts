import { assert } from "../../testing.ts";
import { chooseBackend, type Facts, NoBackendError } from "../../lab/backend.ts";

const able: Facts = {
  wish: undefined,
  root: true,
  ipvs: true,
  namespaces: true,
  architecture: "x86_64",
};

Deno.test("the machine's own kernel is taken where it can carry the lab", () => {
  assert.deepEqual(chooseBackend(able), {
    backend: "native",
    reason: "root, and the kernel has IPVS",
  });
});

Deno.test("anything lacking leads to user-mode-linux, with the reason", () => {
  const cases: [Partial<Facts>, string][] = [
    [{ ipvs: false, namespaces: undefined }, "the kernel has no IPVS"],
    [{ namespaces: false }, "no private namespaces allowed"],
    [{ root: false, ipvs: false, namespaces: undefined }, "not root, the kernel has no IPVS"],
  ];
  for (const [facts, reason] of cases) {
    assert.deepEqual(chooseBackend({ ...able, ...facts }), { backend: "uml", reason });
  }
});

Deno.test("a wish is granted, a wrong one refused", () => {
  assert.equal(chooseBackend({ ...able, wish: "uml" }).backend, "uml");
  assert.equal(chooseBackend({ ...able, wish: "native", ipvs: false }).backend, "native");
  assert.throws(() => chooseBackend({ ...able, wish: "qemu" }), NoBackendError);
});

Deno.test("an empty wish is none", () => {
  assert.equal(chooseBackend({ ...able, wish: "" }).backend, "native");
});

Deno.test("where neither can run, it says what is missing", () => {
  assert.throws(
    () => chooseBackend({ ...able, ipvs: false, architecture: "aarch64" }),
    /the kernel has no IPVS.*x86_64.*aarch64/,
  );
});
