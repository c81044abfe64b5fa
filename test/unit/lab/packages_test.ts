import { assert } from "../../testing.ts";
import { installCommand, labPackages, missingPackages, umlPackages } from "../../lab/packages.ts";

Deno.test("a package is there when any of its files is", () => {
  const [libnl] = labPackages;
  assert.deepEqual(missingPackages([libnl!], (path) => path === "/usr/lib64/libnl-3.so.200"), []);
  assert.deepEqual(missingPackages([libnl!], () => false), [libnl]);
});

Deno.test("the command to install names what is missing and nothing else", () => {
  assert.equal(
    installCommand(umlPackages),
    "sudo apt-get update && sudo apt-get install -y --no-install-recommends user-mode-linux",
  );
});
