/**
 * The TOML dialect where the wrong configs do not reach.
 *
 * @module
 */
import { lookUpWellKnownPort } from "../../../src/config/port_names.ts";
import { type Config, ConfigError, formatWarning } from "../../../src/config/schema.ts";
import { parseToml } from "../../../src/config/toml.ts";
import { formatEndpoint } from "../../../src/model/address.ts";
import { assert } from "../../testing.ts";

function parse(text: string | Uint8Array): Config {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return parseToml("klb.toml", bytes, lookUpWellKnownPort);
}

function messages(text: string | Uint8Array): string[] {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message.split("\n");
  }
  assert.fail("the config was accepted");
}

Deno.test("every setting reaches its field, with its position", () => {
  const config = parse(
    'zeroconf_max_ttl = "20s"\n\n  [[service]]\nname = "web"\n' +
      'bind = ["192.0.2.1:80", "[2001:db8::1]:80"]\nscheduler = "wlc"\nzeroconf_service = "foo"\n' +
      'zeroconf_domain = "local."\nzeroconf_interface = "eth0"\ndrain_timeout = "250ms"\n',
  );
  assert.deepEqual(config, {
    file: "klb.toml",
    zeroconfMaxTtl: 20_000,
    dnsResolvers: [],
    services: [{
      name: "web",
      bind: [{ address: "192.0.2.1", port: 80 }, { address: "2001:db8::1", port: 80 }],
      scheduler: "wlc",
      zeroconfService: "_foo._tcp",
      zeroconfDomain: "local.",
      zeroconfInterface: "eth0",
      dnsSrv: "",
      drainTimeout: 250,
      source: { file: "klb.toml", line: 3, column: 3 },
    }],
    warnings: [],
  });
});

Deno.test("unicast DNS: servers, SRV names, and what means nothing there", () => {
  const config = parse(
    'dns_resolvers = ["192.0.2.53", "[2001:db8::53]:5353", "fe80::53%eth0"]\n' +
      '[[service]]\nbind = "192.0.2.1:80"\ndns_srv = "_http._tcp.web.service.consul."\n' +
      'zeroconf_interface = "eth0"\n' +
      '[[service]]\nbind = "192.0.2.2:80"\nzeroconf_service = "foo"\n' +
      'zeroconf_domain = "example.org"\nzeroconf_interface = "eth0"\n',
  );
  assert.deepEqual(config.dnsResolvers, [
    { address: "192.0.2.53", port: 53, zone: "" },
    { address: "2001:db8::53", port: 5353, zone: "" },
    { address: "fe80::53", port: 53, zone: "eth0" },
  ]);
  assert.deepEqual(
    config.services.map(({ name, dnsSrv, zeroconfDomain }) => [name, dnsSrv, zeroconfDomain]),
    [["web", "_http._tcp.web.service.consul", ""], ["foo", "", "example.org"]],
  );
  assert.deepEqual(config.warnings.map(formatWarning), [
    "klb.toml:5:22: warning: zeroconf_interface means nothing beside dns_srv; leave it out",
    'klb.toml:10:22: warning: zeroconf_interface means nothing in "example.org", which is asked ' +
    "by unicast DNS; leave it out",
  ]);
});

Deno.test("names: given ones come first, the others step aside", () => {
  const service = (bind: string, rest: string) => `[[service]]\nbind = "${bind}"\n${rest}\n`;
  const config = parse(
    service("192.0.2.1:80", 'zeroconf_service = "foo"') +
      service("192.0.2.2:80", 'zeroconf_service = "_foo._udp"') +
      service("192.0.2.3:80", 'name = "foo"') +
      service("192.0.2.4:80", 'name = "foo-3"') +
      service("192.0.2.5:80", 'zeroconf_service = "foo"') +
      service("192.0.2.6:80", ""),
  );
  assert.deepEqual(
    config.services.map(({ name }) => name),
    ["foo-2", "foo-4", "foo", "foo-3", "foo-5", "192.0.2.6:80"],
  );
});

Deno.test("thousands of services of one type take no quadratic time", () => {
  const start = performance.now();
  const text = Array.from(
    { length: 5000 },
    (_, i) => `[[service]]\nbind = "192.0.2.1:${i + 1}"\nzeroconf_service = "foo"\n`,
  ).join("");
  assert.equal(parse(text).services.at(-1)!.name, "foo-5000");
  assert.ok(performance.now() - start < 5000);
});

Deno.test("a byte order mark is no part of the text", () => {
  const config = parse('\ufeff[[service]]\nbind = "192.0.2.1:80"\n');
  assert.deepEqual(config.services[0]!.source, { file: "klb.toml", line: 1, column: 1 });
});

Deno.test("CRLF does not move columns", () => {
  assert.deepEqual(
    messages('[[service]]\r\nbind = "192.0.2.1:80"\r\nscheduler = "x"\r\n').length,
    1,
  );
  assert.match(messages("[[service]]\r\nbind = x\r\n")[0]!, /^klb.toml:2:8: .*write bind = "x"$/);
});

Deno.test("invalid UTF-8 is one problem, at its line", () => {
  const text = '[[service]]\nbind = "192.0.2.1:80"\nname = "caf\xe9"\n';
  assert.deepEqual(messages(Uint8Array.from(text, (character) => character.charCodeAt(0))), [
    "klb.toml:3:1: the file is not valid UTF-8; save it as UTF-8",
  ]);
});

Deno.test("syntax that is broken in one line does not hide what is wrong elsewhere", () => {
  assert.deepEqual(
    messages('[[service]]\nbind = 192.0.2.1:80\nshceduler = "rr"\n\n[[service]]\nscheduler = rr\n'),
    [
      'klb.toml:2:8: the value of "bind" is not in double quotes; write bind = "192.0.2.1:80"',
      'klb.toml:3:1: unknown setting "shceduler"; did you mean "scheduler"?',
      'klb.toml:5:1: the service has no bind; add bind = "192.0.2.10:80", the address clients connect to',
      'klb.toml:6:13: the value of "scheduler" is not in double quotes; write scheduler = "rr"',
    ],
  );
});

Deno.test("a service is a service in every form TOML has", () => {
  for (
    const text of [
      '[[service]]\nbind = "192.0.2.1:80"\n',
      'service = [{ bind = "192.0.2.1:80" }]\n',
      '[["service"]]\n"bind" = """192.0.2.1:80"""\n',
    ]
  ) {
    assert.deepEqual(parse(text).services[0]!.bind.map(formatEndpoint), ["192.0.2.1:80"]);
  }
});

Deno.test("keys that objects have by themselves are unknown settings too", () => {
  for (const key of ["__proto__", "constructor", "toString"]) {
    assert.match(
      messages(`${key} = "x"\n[[service]]\nbind = "192.0.2.1:80"\n`)[0]!,
      new RegExp(`^klb.toml:1:1: unknown setting "${key}"`),
    );
  }
});

Deno.test("a problem carries the path of its setting", () => {
  try {
    parse('[[service]]\nbind = ["192.0.2.1:80", "x"]\n');
    assert.fail("accepted");
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    assert.deepEqual(error.problems.map(({ setting }) => setting), ["service.0.bind.1"]);
  }
});
