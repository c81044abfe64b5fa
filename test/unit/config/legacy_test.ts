/**
 * The legacy dialect where neither the measured vectors nor the wrong configs reach.
 *
 * @module
 */
import { parseLegacy } from "../../../src/config/legacy.ts";
import { parsePortNames } from "../../../src/config/port_names.ts";
import { type Config, ConfigError, formatWarning } from "../../../src/config/schema.ts";
import { formatEndpoint } from "../../../src/model/address.ts";
import { assert } from "../../testing.ts";
import { memoryFiles } from "./memory_files.ts";

const lookUpPort = parsePortNames("http 80/tcp www\n");

function parse(text: string | Uint8Array, files: Record<string, string> = {}): Config {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return parseLegacy("etc/klb.conf", bytes, memoryFiles(files), lookUpPort);
}

function binds(config: Config): string[] {
  return config.services.flatMap(({ bind }) => bind.map(formatEndpoint));
}

function messages(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message.split("\n");
  }
  assert.fail("the config was accepted");
}

function service(bind: string, ...options: string[]): string {
  return `service {\nbind "${bind}"\nzeroconf_service "foo"\n${options.join("\n")}\n}\n`;
}

Deno.test("every option reaches its field, with its position", () => {
  const config = parse(
    'zeroconf_max_ttl "20s"\n\n  service {\n' +
      "bind 192.0.2.1:www\nscheduler wlc\nzeroconf_service _foo._tcp\nzeroconf_domain local\n" +
      "zeroconf_interface eth0\ndrain_timeout 90s\n}\n",
  );
  assert.deepEqual(config, {
    file: "etc/klb.conf",
    zeroconfMaxTtl: 20_000,
    dnsResolvers: [],
    services: [{
      name: "foo",
      bind: [{ address: "192.0.2.1", port: 80 }],
      scheduler: "wlc",
      zeroconfService: "_foo._tcp",
      zeroconfDomain: "local",
      zeroconfInterface: "eth0",
      dnsSrv: "",
      drainTimeout: 90_000,
      source: { file: "etc/klb.conf", line: 3, column: 3 },
    }],
    warnings: [],
  });
});

Deno.test("what is not written has its default", () => {
  const [only] = parse('service {\nbind "192.0.2.1:80"\n}').services;
  assert.deepEqual({ ...only, bind: undefined, source: undefined }, {
    name: "192.0.2.1:80",
    bind: undefined,
    scheduler: "rr",
    zeroconfService: "",
    zeroconfDomain: "",
    zeroconfInterface: "",
    dnsSrv: "",
    drainTimeout: 300_000,
    source: undefined,
  });
});

Deno.test("names taken from the service type stay distinct", () => {
  const config = parse(
    ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"].map((b) => service(b)).join(""),
  );
  assert.deepEqual(config.services.map(({ name }) => name), ["foo", "foo-2", "foo-3"]);
});

Deno.test("IPv6 is accepted, in its canonical form", () => {
  assert.deepEqual(binds(parse(service("[2001:DB8:0::1]:80"))), ["[2001:db8::1]:80"]);
});

Deno.test("every byte up to 0x20 is white space, and no other", () => {
  assert.equal(parse("\x01service\x1f{\n\x02bind\x0b\t192.0.2.1:80\x03\n}\x04").services.length, 1);
  assert.equal(messages(() => parse('service {\n\xa0bind "192.0.2.1:80"\n}\n')).length, 2);
});

Deno.test("the last of several values counts, and each is checked but an earlier scheduler", () => {
  const config = parse(service("192.0.2.1:80", "scheduler x", "scheduler sh", "zeroconf_type bar"));
  assert.equal(config.services[0]!.scheduler, "sh");
  assert.equal(config.services[0]!.zeroconfService, "_bar._tcp");
  assert.equal(
    messages(() => parse(service("192.0.2.1:80", "zeroconf_type a_b", "zeroconf_type bar"))).length,
    1,
  );
});

Deno.test("variables: expanded in double quotes, many times, and never again", () => {
  const config = parse(
    "@set net = '192.0.2'\n@set host=\"${net}.1\"\n@set raw = '${net}'\n" +
      service("${host}:80", 'zeroconf_interface "${raw}"', "zeroconf_domain '${raw}'"),
  );
  assert.deepEqual(binds(config), ["192.0.2.1:80"]);
  assert.equal(config.services[0]!.zeroconfInterface, "${net}");
  assert.equal(config.services[0]!.zeroconfDomain, "${raw}");
});

Deno.test("variables: a bare one may hold white space", () => {
  const config = parse('@set d = "a b"\n' + service("192.0.2.1:80", "zeroconf_domain ${d}"));
  assert.equal(config.services[0]!.zeroconfDomain, "a b");
});

Deno.test("variables: escapes in @set", () => {
  const config = parse(
    `@set d = "a\\\\b\\'c\\nd"\n` + service("192.0.2.1:80", 'zeroconf_domain "${d}"'),
  );
  assert.equal(config.services[0]!.zeroconfDomain, "a\\b'c\nd");
});

Deno.test("a variable that was set wrongly is not called unknown", () => {
  assert.deepEqual(messages(() => parse("@set a = x\n" + service("${a}:80"))), [
    'etc/klb.conf:1:10: the value is not in quotes; write "x"',
  ]);
});

Deno.test("includes: relative to the including file, patterns in order with dot files", () => {
  const config = parse('@include "d/all.conf"\n', {
    "etc/d/all.conf": '@include "[a-z.]*.inc"\n@include_optional "none.inc"\n',
    "etc/d/b.inc": service("192.0.2.2:80"),
    "etc/d/a.inc": service("192.0.2.1:80"),
    "etc/d/.c.inc": service("192.0.2.3:80"),
    "etc/d/1.inc": "wrong",
    "etc/d/a.txt": "wrong",
  });
  assert.deepEqual(binds(config), ["192.0.2.3:80", "192.0.2.1:80", "192.0.2.2:80"]);
  assert.deepEqual(config.services[0]!.source, { file: "etc/d/.c.inc", line: 1, column: 1 });
});

Deno.test("includes: a block may start, go on and end in different files", () => {
  const config = parse('@include "open.inc"\n@include "body.inc"\n}\n', {
    "etc/open.inc": "service {\n",
    "etc/body.inc": 'bind "192.0.2.1:80"\n',
  });
  assert.deepEqual(binds(config), ["192.0.2.1:80"]);
});

Deno.test("includes: one file twice is no cycle", () => {
  const config = parse('@include "v.inc"\n@include "v.inc"\n' + service("${a}:80"), {
    "etc/v.inc": '@set a = "192.0.2.1"\n',
  });
  assert.equal(config.services.length, 1);
});

Deno.test("includes: the optional kind forgives only what is missing", () => {
  assert.equal(parse('@include_optional "x/y"\n' + service("192.0.2.1:80")).services.length, 1);
  assert.deepEqual(
    messages(() => parse('@include_optional "x"\n' + service("192.0.2.1:80"), { "etc/x/y": "" })),
    ['etc/klb.conf:1:19: cannot include "x": it is a directory; name a file in it'],
  );
});

Deno.test("includes: the optional kind takes a pattern literally, and says so", () => {
  const config = parse('@include_optional "*.inc"\n' + service("192.0.2.1:80"), {
    "etc/a.inc": "wrong",
  });
  assert.deepEqual(config.warnings.map(formatWarning), [
    'etc/klb.conf:1:19: warning: @include_optional takes "*.inc" literally, so it includes ' +
    "nothing; use @include, which may match no file",
  ]);
});

Deno.test("includes: growing without end is stopped", () => {
  const twice = '@include "a.inc"\n@include "a.inc"\n';
  const files: Record<string, string> = {};
  for (let i = 0; i < 20; i++) {
    files[`etc/${i}.inc`] = twice.replaceAll("a.inc", `${i + 1}.inc`);
  }
  files["etc/20.inc"] = "";
  assert.match(messages(() => parse('@include "0.inc"\n', files)).join(), /more than 1000 files/);

  const deep: Record<string, string> = {};
  for (let i = 0; i < 50; i++) deep[`etc/${i}.inc`] = `@include "${i + 1}.inc"\n`;
  assert.match(messages(() => parse('@include "0.inc"\n', deep)).join(), /more than 32 deep/);
});

Deno.test("invalid UTF-8: a comment may have it, a value gets a warning", () => {
  const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
  assert.deepEqual(parse(latin1("# caf\xe9\n" + service("192.0.2.1:80"))).warnings, []);
  const config = parse(latin1(service("192.0.2.1:80", 'zeroconf_interface "caf\xe9"')));
  assert.match(config.warnings.map(formatWarning).join(), /conf:4:1: warning: .* not valid UTF-8/);
});

Deno.test("lenient where the old daemon was: odd interfaces, addresses and domains only warn", () => {
  const config = parse(service(
    "255.255.255.255:80",
    'zeroconf_interface "a name that is too long"',
    'zeroconf_domain "example com"',
  ));
  assert.deepEqual(config.warnings.map(({ position }) => position.line), [2, 4, 4, 5]);
});

Deno.test("unicast DNS: one server, beside the blocks, and SRV names in them", () => {
  const config = parse(
    'dns_resolvers "192.0.2.53"\n' +
      'service {\nbind "192.0.2.1:80"\ndns_srv _http._tcp.web.service.consul\n}\n',
  );
  assert.deepEqual(config.dnsResolvers, [{ address: "192.0.2.53", port: 53, zone: "" }]);
  assert.deepEqual(config.services.map(({ dnsSrv }) => dnsSrv), ["_http._tcp.web.service.consul"]);
  assert.deepEqual(config.warnings, []);
});

Deno.test("a file of rubbish gives no more than 200 problems and a last word", () => {
  const list = messages(() => parse("?\n".repeat(100_000)));
  assert.equal(list.length, 201);
  assert.match(list.at(-1)!, /is this the right file\?/);
});
