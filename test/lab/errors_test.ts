/** What klb says when the machine does not give it what it needs: one line, and what to do. */
import { assert } from "../testing.ts";
import { type Director, inLab, Topology, withoutModuleLoading } from "./topology.ts";

const ignore = !inLab;

const config = (scheduler: string) =>
  `service {
  bind "1.2.3.4:80"
  zeroconf_service "foo"
  scheduler "${scheduler}"
}
`;

/** Runs klb under a shell that takes something away first; `"$@"` is klb. */
async function runWithout(director: Director, shell: string, scheduler = "rr") {
  const root = new URL("../../", import.meta.url).pathname;
  const file = director.file("klb.conf", config(scheduler));
  const klb = [Deno.execPath(), "run", "-A", `${root}main.ts`, "run", "--config", file];
  const { code, stderr } = await director.run("sh", ["-c", shell, "sh", ...klb], {
    timeoutMs: 120_000,
  });
  const errors = stderr.split("\n").filter((line) => / error /.test(line));
  assert.equal(errors.length, 1, stderr);
  assert.doesNotMatch(stderr, /^\s+at /m, "no stack trace");
  return { code, error: errors[0]! };
}

Deno.test({
  name: "without CAP_NET_ADMIN klb says so and exits 69",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 0 });
    const shell = 'exec setpriv --bounding-set=-net_admin --inh-caps=-net_admin "$@"';
    const { code, error } = await runWithout(topology.director, shell);
    assert.equal(code, 69);
    assert.match(error, /EPERM .*run as root, or with CAP_NET_ADMIN/);
  },
});

Deno.test({
  name: "without libnl klb names the packages and exits 69",
  ignore,
  async fn() {
    await using topology = await Topology.create({ workers: 0 });
    const hide = "for f in /usr/lib/*/libnl-3.so.200 /lib/*/libnl-3.so.200; do " +
      '[ -e "$f" ] && mount --bind /dev/null "$f"; done;';
    const shell = `exec unshare -m sh -c '${hide} exec "$@"' sh "$@"`;
    const { code, error } = await runWithout(topology.director, shell);
    assert.equal(code, 69);
    assert.match(error, /libnl-3\.so\.200.*libnl-3-200/);
  },
});

Deno.test({
  name: "without a scheduler's module klb names the module and exits 69",
  // Only a kernel of our own may be kept from loading modules.
  ignore: ignore || Deno.env.get("KLB_LAB_BACKEND") !== "uml",
  async fn() {
    await using topology = await Topology.create({ workers: 0 });
    await topology.director.run("modprobe", ["-r", "ip_vs_ovf"]);
    using _prevented = withoutModuleLoading();
    const { code, error } = await runWithout(topology.director, 'exec "$@"', "ovf");
    assert.equal(code, 69);
    assert.match(
      error,
      /cannot add virtual service tcp 1\.2\.3\.4:80: ENOENT .*modprobe ip_vs_ovf/,
    );
  },
});
