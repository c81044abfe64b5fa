/**
 * Laws of the config: both dialects mean the same, and no input is an accident.
 *
 * @module
 */
import { parseLegacy } from "../../src/config/legacy.ts";
import { lookUpWellKnownPort } from "../../src/config/port_names.ts";
import { type Config, ConfigError, schedulers } from "../../src/config/schema.ts";
import { parseToml } from "../../src/config/toml.ts";
import { locateToml } from "../../src/config/toml_positions.ts";
import { formatDuration } from "../../src/config/values.ts";
import { formatEndpoint, ipFromBytes } from "../../src/model/address.ts";
import { assert, fc } from "../testing.ts";
import { memoryFiles } from "../unit/config/memory_files.ts";

/** What a config means, as `[setting, value]` pairs in any order. */
interface Meaning {
  readonly top: readonly Pair[];
  readonly services: readonly (readonly Pair[])[];
}
type Pair = readonly [name: string, value: string];

/** Random choices of how to write the same thing: each call gives the next, below `n`. */
type Choose = (n: number) => number;

const byte = fc.integer({ min: 0, max: 255 });
const endpoint = fc.record({
  address: fc.oneof(
    // Unicast only: the dialects differ about the others.
    fc.tuple(fc.integer({ min: 1, max: 223 }), byte, byte, byte),
    fc.tuple(fc.constant(0x20), ...new Array<typeof byte>(15).fill(byte)),
  ).map((bytes) => ipFromBytes(Uint8Array.from(bytes as number[]))),
  port: fc.integer({ min: 1, max: 65535 }),
}).map(formatEndpoint);

const resolver = endpoint.filter((text) => !/^(2(2[4-9]|[3-5])|\[ff|0\.|\[::\])/.test(text));

const typeName = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,14}$/);
const serviceType = fc.oneof(
  typeName,
  typeName.map((name) => `_${name}._tcp`),
  typeName.map((name) => `_${name}._udp`),
);
const domain = fc.array(fc.stringMatching(/^[a-z0-9ü$#-]{1,20}$/), { minLength: 1, maxLength: 3 })
  .map((labels) => labels.join("."));
const interfaceName = fc.stringMatching(/^[a-z0-9@'-]{1,12}$/);
const duration = fc.oneof(
  fc.integer({ min: 2000, max: 168 * 3_600_000 }).map(formatDuration),
  fc.integer({ min: 2, max: 168 }).map((hours) => `${hours}h`),
);

function pairs(
  model: Record<string, fc.Arbitrary<string>>,
  requiredKeys: string[],
): fc.Arbitrary<readonly Pair[]> {
  return fc.record(model, { requiredKeys }).chain((record) =>
    fc.shuffledSubarray(Object.entries(record), { minLength: Object.keys(record).length })
  );
}

const meaning: fc.Arbitrary<Meaning> = fc.record({
  top: pairs({ zeroconf_max_ttl: duration, dns_resolvers: resolver }, []),
  services: fc.uniqueArray(
    pairs({
      bind: endpoint,
      scheduler: fc.constantFrom(...schedulers),
      zeroconf_service: serviceType,
      zeroconf_domain: domain,
      zeroconf_interface: interfaceName,
      drain_timeout: duration,
    }, ["bind"]),
    {
      minLength: 1,
      maxLength: 5,
      selector: (service) => service.find(([name]) => name === "bind")![1],
    },
  ),
});

const choices = fc.infiniteStream(fc.nat());

function chooser(stream: Stream): Choose {
  return (n) => stream.next().value % n;
}
type Stream = { next(): { value: number } };

function renderLegacy({ top, services }: Meaning, choose: Choose): string {
  let variables = 0;
  const lines: string[] = [];
  const option = ([name, value]: Pair) => {
    const spelling = name === "zeroconf_service" && choose(2) ? "zeroconf_type" : name;
    const plain = value.includes("'") ? `"${value}"` : `'${value}'`;
    const variable = `v${variables}`;
    const written = [
      () => `"${value}"`,
      () => plain,
      () => /^[A-Za-z0-9_.:-]+$/.test(value) ? value : plain,
      () => {
        lines.push(`@set ${variable}${choose(2) ? " = " : "="}${plain}`);
        variables++;
        return choose(2) ? `"\${${variable}}"` : `\${${variable}}`;
      },
    ][choose(4)]!();
    lines.push(`${spelling}${choose(2) ? "\t" : " "}${written}`);
    if (choose(4) === 0) lines.push("# } bind");
  };
  // The top-level option may stand before, between and after the services.
  const place = choose(services.length + 1);
  for (const [i, service] of services.entries()) {
    if (i === place) top.forEach(option);
    lines.push("service {");
    service.forEach(option);
    lines.push("}");
  }
  if (place === services.length) top.forEach(option);
  const [indent, end] = [["", "  ", "\t"][choose(3)]!, ["\n", "\r\n", " \n\n"][choose(3)]!];
  return lines.map((line) => indent + line).join(end);
}

function renderToml({ top, services }: Meaning, choose: Choose): string {
  const quoted = (value: string) =>
    choose(2) && !value.includes("'") ? `'${value}'` : JSON.stringify(value);
  const assignment = ([name, value]: Pair) => {
    const key = choose(3) ? name : `"${name}"`;
    const list = name === "bind" && choose(2);
    return `${key}${choose(2) ? " = " : "="}${list ? `[ ${quoted(value)}, ]` : quoted(value)}`;
  };
  const head = top.map(assignment);
  if (choose(3) === 0) {
    const tables = services.map((service) => `{ ${service.map(assignment).join(", ")} }`);
    return [...head, `service = [\n${tables.join(",\n")}]`].join("\n");
  }
  const end = choose(2) ? " # comment = 'x'\r\n" : "\n";
  return [...head, ...services.flatMap((s) => ["[[service]]", ...s.map(assignment)])].join(end);
}

const encoder = new TextEncoder();

function legacy(bytes: Uint8Array): Config {
  return parseLegacy("klb.conf", bytes, memoryFiles({}), lookUpWellKnownPort);
}

function toml(bytes: Uint8Array): Config {
  return parseToml("klb.toml", bytes, lookUpWellKnownPort);
}

/** What is left of a config when where and how it was written is taken away. */
function meant({ zeroconfMaxTtl, dnsResolvers, services, warnings }: Config): unknown {
  return {
    zeroconfMaxTtl,
    dnsResolvers,
    services: services.map(({ source: _, ...rest }) => rest),
    warnings: warnings.map(({ setting, what }) => `${setting}: ${what}`).sort(),
  };
}

Deno.test("legacy and TOML of the same meaning load to equal configs", () => {
  fc.assert(
    fc.property(meaning, choices, (meaning, stream) => {
      const choose = chooser(stream);
      const a = meant(legacy(encoder.encode(renderLegacy(meaning, choose))));
      const b = meant(toml(encoder.encode(renderToml(meaning, choose))));
      assert.deepEqual(a, b);
      // Equal because both are right, not because both lose something.
      const first = (a as Config).services[0]!;
      for (const [name, value] of meaning.services[0]!) {
        if (name === "bind") assert.equal(formatEndpoint(first.bind[0]!), value);
        if (name === "scheduler") assert.equal(first.scheduler, value);
        if (name === "zeroconf_domain") assert.equal(first.zeroconfDomain, value);
        if (name === "zeroconf_interface") assert.equal(first.zeroconfInterface, value);
        if (name === "drain_timeout") assert.equal(formatDuration(first.drainTimeout), norm(value));
      }
    }),
    { numRuns: 500 },
  );
});

/** "24h" may come back from "1440m": the shortest form of the same length. */
function norm(value: string): string {
  const [, digits, unit] = /^(\d+)(\D+)$/.exec(value)!;
  return formatDuration(Number(digits) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit!]!);
}

Deno.test("every TOML value is found where it is written", () => {
  fc.assert(
    fc.property(meaning, choices, (meaning, stream) => {
      const text = renderToml(meaning, chooser(stream));
      const positions = locateToml(text);
      const at = ({ line, column }: { line: number; column: number }) =>
        text.split("\n")[line - 1]!.slice(column - 1);
      meaning.services.forEach((service, i) => {
        for (const [name, value] of service) {
          assert.ok(at(positions.key(["service", i, name])).replace('"', "").startsWith(name));
          const found = at(positions.value(["service", i, name]));
          assert.ok(found.replace("[ ", "").slice(1).startsWith(value), `${name}: ${found}`);
        }
      });
    }),
  );
});

/** A valid text with pieces cut out, doubled and put in. */
function mutate(text: string, choose: Choose): Uint8Array {
  const pieces = [
    '"',
    "'",
    "{",
    "}",
    "[",
    "]",
    "${",
    "@set ",
    "@include ",
    "\n",
    "\r",
    "=",
    "\\",
    "#",
    "\0",
  ];
  let bytes = [...encoder.encode(text)];
  for (let n = 1 + choose(4); n > 0; n--) {
    const at = choose(bytes.length + 1);
    const cut = bytes.slice(at, at + choose(12));
    const inserted = [
      [],
      cut,
      [...cut, ...cut],
      [choose(256)],
      [...encoder.encode(pieces[choose(pieces.length)]!)],
    ][choose(5)]!;
    bytes = [...bytes.slice(0, at), ...inserted, ...bytes.slice(at + cut.length)];
  }
  return Uint8Array.from(bytes);
}

/** Accepts a config or a ConfigError whose every problem is one line at a place that exists. */
function assertTame(parse: (bytes: Uint8Array) => Config, bytes: Uint8Array): void {
  try {
    assert.ok(parse(bytes).services.length > 0);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const lines = new TextDecoder().decode(bytes).split("\n");
    assert.ok(error.problems.length > 0);
    assert.equal(error.message.split("\n").length, error.problems.length);
    for (const { position: { line, column }, what, fix } of error.problems) {
      assert.ok(line >= 1 && line <= lines.length, error.message);
      assert.ok(column >= 1 && column <= lines[line - 1]!.length + 1, error.message);
      assert.ok(what !== "" && fix !== "" && !/undefined|\[object|NaN/.test(what + fix), what);
    }
  }
}

for (
  const [name, parse, render] of [["legacy", legacy, renderLegacy], [
    "TOML",
    toml,
    renderToml,
  ]] as const
) {
  Deno.test(`${name}: random bytes give a ConfigError and nothing worse`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => assertTame(parse, bytes)),
      { numRuns: 1000 },
    );
  });

  Deno.test(`${name}: a valid config with damage gives a ConfigError and nothing worse`, () => {
    fc.assert(
      fc.property(meaning, choices, (meaning, stream) => {
        const choose = chooser(stream);
        assertTame(parse, mutate(render(meaning, choose), choose));
      }),
      { numRuns: 2000 },
    );
  });
}
