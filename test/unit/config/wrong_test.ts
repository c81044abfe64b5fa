/**
 * Wrong configs and exactly what a person is told about each.
 *
 * @module
 */
import { parseLegacy } from "../../../src/config/legacy.ts";
import { lookUpWellKnownPort } from "../../../src/config/port_names.ts";
import { type Config, ConfigError } from "../../../src/config/schema.ts";
import { parseToml } from "../../../src/config/toml.ts";
import { assert } from "../../testing.ts";
import { memoryFiles } from "./memory_files.ts";

interface WrongConfig {
  readonly name: string;
  /** The name decides the dialect. */
  readonly file: "klb.conf" | "klb.toml";
  readonly text: string;
  /** Files beside it. */
  readonly files?: Readonly<Record<string, string>>;
  /** Every problem, in order. */
  readonly messages: readonly string[];
}

const wrong: readonly WrongConfig[] = [
  {
    name: "an empty file",
    file: "klb.conf",
    text: "",
    messages: [
      'klb.conf:1:1: no service is configured; add "service {", a bind, a zeroconf_service and "}", each on its own line',
    ],
  },
  {
    name: "only comments",
    file: "klb.conf",
    text: "# nothing yet\n",
    messages: [
      'klb.conf:1:1: no service is configured; add "service {", a bind, a zeroconf_service and "}", each on its own line',
    ],
  },
  {
    name: "a misspelt option",
    file: "klb.conf",
    text: lines("service {", '  bnid "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: ['klb.conf:2:3: unknown option "bnid"; did you mean "bind"?'],
  },
  {
    name: "an unknown option",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  weight "5"',
      "}",
    ),
    messages: [
      'klb.conf:4:3: unknown option "weight"; options here are bind, scheduler, zeroconf_service, zeroconf_domain, zeroconf_interface, dns_srv, drain_timeout',
    ],
  },
  {
    name: "an option in capitals",
    file: "klb.conf",
    text: lines("service {", '  BIND "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: ['klb.conf:2:3: unknown option "BIND"; did you mean "bind"?'],
  },
  {
    name: "an option outside of a block",
    file: "klb.conf",
    text: 'bind "192.0.2.1:80"\n',
    messages: [
      'klb.conf:1:1: "bind" stands outside of a service block; move it into a service block',
    ],
  },
  {
    name: "a top-level option inside a block",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  zeroconf_max_ttl "20s"',
      "}",
    ),
    messages: [
      'klb.conf:4:3: "zeroconf_max_ttl" stands inside a service block; move it out of the block',
    ],
  },
  {
    name: "a missing bind",
    file: "klb.conf",
    text: lines("service {", '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.conf:3:1: the service has no bind; add bind "192.0.2.10:80", the address clients connect to',
    ],
  },
  {
    name: "bind twice",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  bind "192.0.2.2:80"',
      "}",
    ),
    messages: [
      'klb.conf:4:3: "bind" is set twice, first at klb.conf:2:8; keep one of the two lines',
    ],
  },
  {
    name: "zeroconf_domain twice",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  zeroconf_domain "local"',
      '  zeroconf_domain "local"',
      "}",
    ),
    messages: [
      'klb.conf:5:3: "zeroconf_domain" is set twice, first at klb.conf:4:19; keep one of the two lines',
    ],
  },
  {
    name: "the same bind in two services",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: [
      "klb.conf:6:8: 192.0.2.1:80 is already bound at klb.conf:2:8; give each service an address and port of its own",
    ],
  },
  {
    name: "a bind without a port",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1"', '  zeroconf_service "foo"', "}"),
    messages: ['klb.conf:2:8: bind "192.0.2.1" has no port; write it like "192.0.2.1:80"'],
  },
  {
    name: "a bind with port 0",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:0"', '  zeroconf_service "foo"', "}"),
    messages: ["klb.conf:2:8: there is no port 0; write a port from 1 to 65535"],
  },
  {
    name: "a bind with a port that wraps around",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:65616"', '  zeroconf_service "foo"', "}"),
    messages: ["klb.conf:2:8: there is no port 65616; write a port from 1 to 65535"],
  },
  {
    name: "a bind with an unknown port name",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:htpp"', '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.conf:2:8: "htpp" is not a port; write a number from 1 to 65535, or a TCP service name of /etc/services',
    ],
  },
  {
    name: "a bind to every address",
    file: "klb.conf",
    text: lines("service {", '  bind "*:80"', '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.conf:2:8: "*" is no address, and IPVS has none that means "all"; write the address clients connect to',
    ],
  },
  {
    name: "a bind to a host name",
    file: "klb.conf",
    text: lines("service {", '  bind "www.example.com:80"', '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.conf:2:8: "www.example.com" is not an IP address; write an address like "192.0.2.10", because host names are not looked up',
    ],
  },
  {
    name: "a bind with a number above 255",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.256:80"', '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.conf:2:8: "192.0.2.256" is not an IPv4 address; write four numbers from 0 to 255, like "192.0.2.10"',
    ],
  },
  {
    name: "a bind to IPv6 without brackets",
    file: "klb.conf",
    text: lines("service {", '  bind "2001:db8::1:80"', '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.conf:2:8: bind "2001:db8::1:80" is not an IPv6 address in brackets with a port; write it like "[2001:db8::10]:80"',
    ],
  },
  {
    name: "an unknown scheduler",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  scheduler "roundrobin"',
      "}",
    ),
    messages: [
      'klb.conf:4:13: unknown scheduler "roundrobin"; use one of rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh',
    ],
  },
  {
    name: "a misspelt scheduler",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  scheduler "wrr2"',
      "}",
    ),
    messages: ['klb.conf:4:13: unknown scheduler "wrr2"; did you mean "wrr"?'],
  },
  {
    name: "an empty value",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  scheduler ""',
      "}",
    ),
    messages: ['klb.conf:4:13: scheduler is empty; write scheduler "rr"'],
  },
  {
    name: "a missing value",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "  scheduler",
      "}",
    ),
    messages: ['klb.conf:4:12: "scheduler" has no value; write scheduler "rr"'],
  },
  {
    name: "a service type without its first underscore",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:80"', '  zeroconf_service "foo._tcp"', "}"),
    messages: [
      'klb.conf:3:20: "foo._tcp" is not a service type: it must start with "_"; write "_foo._tcp"',
    ],
  },
  {
    name: "a service type that is too long",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:80"', '  zeroconf_service "abcdefghijklmnop"', "}"),
    messages: [
      'klb.conf:3:20: "abcdefghijklmnop" is not a service type: its name must have 1 to 15 characters; write one like "foo" or "_foo._tcp"',
    ],
  },
  {
    name: "a service type of digits",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:80"', '  zeroconf_service "123"', "}"),
    messages: [
      'klb.conf:3:20: "123" is not a service type: its name must have at least one letter; write one like "foo" or "_foo._tcp"',
    ],
  },
  {
    name: "a duration without a unit",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  drain_timeout "30"',
      "}",
    ),
    messages: [
      'klb.conf:4:17: "30" is not a duration; write a whole number with its unit: "250ms", "2s", "5m" or "1h"',
    ],
  },
  {
    name: "a duration that is too short",
    file: "klb.conf",
    text: lines(
      'zeroconf_max_ttl "1s"',
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: ['klb.conf:1:18: "1s" is out of range; write a duration from "2s" to "168h"'],
  },
  {
    name: "a trailing comment",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  scheduler "rr" # round robin',
      "}",
    ),
    messages: [
      'klb.conf:4:18: "# round robin" follows the value; move the comment to a line of its own',
    ],
  },
  {
    name: "a comment of another language",
    file: "klb.conf",
    text: lines("// klb", "service {", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: ['klb.conf:1:1: "// klb" is no comment here; start comments with "#"'],
  },
  {
    name: "an equals sign",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  scheduler = "rr"',
      "}",
    ),
    messages: [
      'klb.conf:4:13: there is a "=" between "scheduler" and its value; write scheduler "rr"',
    ],
  },
  {
    name: "a value stuck to its option",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  scheduler"rr"',
      "}",
    ),
    messages: [
      'klb.conf:4:12: there is no white space between "scheduler" and its value; write scheduler "rr"',
    ],
  },
  {
    name: "a quote that is not closed",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  scheduler "rr',
      "}",
    ),
    messages: ['klb.conf:4:13: the closing " is missing; end the value with " on the same line'],
  },
  {
    name: "a value with characters that need quotes",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "  zeroconf_interface eth0@if2",
      "}",
    ),
    messages: [
      'klb.conf:4:22: "@" cannot be in a value without quotes; put the value in double quotes',
    ],
  },
  {
    name: "a brace without white space",
    file: "klb.conf",
    text: lines("service{", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.conf:1:1: there is no white space between "service" and "{"; write "service {"',
    ],
  },
  {
    name: "a brace on the next line",
    file: "klb.conf",
    text: lines("service", "{", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: ['klb.conf:1:1: "service" has no "{" on its line; write "service {"'],
  },
  {
    name: "a service with a name",
    file: "klb.conf",
    text: lines('service "web" {', '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.conf:1:1: \'"web" {\' follows "service", which takes no value; write "service {"',
    ],
  },
  {
    name: "a service on one line",
    file: "klb.conf",
    text: 'service { bind "192.0.2.1:80" }\n',
    messages: [
      'klb.conf:1:1: something follows "{"; write "service {", each option and "}" on lines of their own',
    ],
  },
  {
    name: "a misspelt block",
    file: "klb.conf",
    text: lines("servcie {", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: ['klb.conf:1:1: unknown block "servcie"; did you mean "service"?'],
  },
  {
    name: "another daemon's block",
    file: "klb.conf",
    text: lines(
      "vrrp_instance v1 {",
      "  state MASTER",
      "  track {",
      "    eth0",
      "  }",
      "}",
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: ['klb.conf:1:1: unknown block "vrrp_instance"; the only block is "service {"'],
  },
  {
    name: "a block that is not closed",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"'),
    messages: ['klb.conf:1:1: the block is never closed; add a line "}" after its last option'],
  },
  {
    name: "a block that is not closed before the next",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "service {",
      '  bind "192.0.2.2:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: [
      'klb.conf:4:1: a service block starts inside the one at klb.conf:1:1; close that one with a line "}" first',
    ],
  },
  {
    name: "a brace too many",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "}", "}"),
    messages: [
      'klb.conf:5:1: "}" closes nothing; remove it, or open a block with "service {" before it',
    ],
  },
  {
    name: "something after the closing brace",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "} # done"),
    messages: [
      'klb.conf:4:2: "# done" follows "}"; leave "}" alone on its line, comments take a line of their own',
    ],
  },
  {
    name: "a byte order mark",
    file: "klb.conf",
    text: lines("\ufeffservice {", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: [
      "klb.conf:1:1: the file starts with a byte order mark; save it as UTF-8 without one (BOM)",
    ],
  },
  {
    name: "a line that is too long",
    file: "klb.conf",
    text: "# " + "x".repeat(16_383) +
      '\nservice {\n  bind "192.0.2.1:80"\n  zeroconf_service "foo"\n}\n',
    messages: ["klb.conf:1:1: the line is 16385 bytes long; shorten it to at most 16384"],
  },
  {
    name: "a variable that is not set",
    file: "klb.conf",
    text: lines(
      '@set adress = "192.0.2.1"',
      "service {",
      '  bind "${address}:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: ['klb.conf:3:9: the variable "address" is not set; did you mean ${adress}?'],
  },
  {
    name: "a variable that is not closed",
    file: "klb.conf",
    text: lines(
      '@set a = "192.0.2.1"',
      "service {",
      '  bind "${a:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: [
      'klb.conf:3:9: "${a" is not followed by "}"; write a variable as ${name}, with a name of letters, digits and "_"',
    ],
  },
  {
    name: "a variable and text without quotes",
    file: "klb.conf",
    text: lines(
      '@set a = "192.0.2.1"',
      "service {",
      "  bind ${a}:80",
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: [
      'klb.conf:3:12: ":80" follows a variable directly; put the whole value in double quotes',
    ],
  },
  {
    name: "a variable without a value in quotes",
    file: "klb.conf",
    text: lines(
      "@set a = 192.0.2.1",
      "service {",
      '  bind "${a}:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: ['klb.conf:1:10: the value is not in quotes; write "192.0.2.1"'],
  },
  {
    name: "an unknown escape",
    file: "klb.conf",
    text: lines(
      '@set a = "192\\.0"',
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: [
      'klb.conf:1:14: "\\." is no escape; write \\\\ for a backslash, the others are \\" \\\' \\n and \\r',
    ],
  },
  {
    name: "a misspelt directive",
    file: "klb.conf",
    text: lines(
      '@inlcude "a.conf"',
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: ['klb.conf:1:1: unknown directive "@inlcude"; did you mean "@include"?'],
  },
  {
    name: "a missing include",
    file: "klb.conf",
    text: lines(
      '@include "a.conf"',
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: [
      'klb.conf:1:10: cannot include "a.conf": there is no such file; correct the path, or use @include_optional if the file may be missing',
    ],
  },
  {
    name: "an include without quotes",
    file: "klb.conf",
    text: lines(
      "@include a.conf",
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    files: { "a.conf": "" },
    messages: ['klb.conf:1:10: the path is not in quotes; write "a.conf"'],
  },
  {
    name: "an include of a directory",
    file: "klb.conf",
    text: lines(
      '@include "conf.d"',
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    files: { "conf.d/a.conf": "" },
    messages: ['klb.conf:1:10: cannot include "conf.d": it is a directory; name a file in it'],
  },
  {
    name: "a pattern in a missing directory",
    file: "klb.conf",
    text: lines(
      '@include "conf.d/*.conf"',
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    messages: [
      'klb.conf:1:10: cannot include "conf.d/*.conf": there is no such directory; correct the path',
    ],
  },
  {
    name: "a variable in an include",
    file: "klb.conf",
    text: lines(
      '@set d = "conf.d"',
      '@include "${d}/a.conf"',
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    files: { "conf.d/a.conf": "" },
    messages: [
      'klb.conf:2:10: cannot include "${d}/a.conf": there is no such file; write the path itself: variables are not expanded in paths',
    ],
  },
  {
    name: "an include cycle",
    file: "klb.conf",
    text: lines(
      '@include "a/b.conf"',
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
    ),
    files: { "a/b.conf": '@include "../a/c.conf"\n', "a/c.conf": lines("", ' @include "b.conf"') },
    messages: [
      'klb.conf:1:10: in a/b.conf:1:10: in a/../a/c.conf:2:11: "b.conf" includes itself: a/b.conf -> a/c.conf -> a/b.conf; remove one of these includes',
    ],
  },
  {
    name: "a mistake two includes deep",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      "}",
      '@include "a/b.conf"',
    ),
    files: {
      "a/b.conf": lines("# c", '@include "c.conf"'),
      "a/c.conf": lines("service {", '  bind "192.0.2.7:80"', '  sheduler "rr"', "}"),
    },
    messages: [
      'klb.conf:5:10: in a/b.conf:2:10: in a/c.conf:3:3: unknown option "sheduler"; did you mean "scheduler"?',
    ],
  },
  {
    name: "TOML in a file that is not named so",
    file: "klb.conf",
    text: lines("[[service]]", 'bind = "192.0.2.1:80"', 'zeroconf_service = "foo"'),
    messages: [
      "klb.conf:1:1: this looks like TOML, but only a file named .toml is read as TOML; rename it, or write it in the syntax of klb.conf",
    ],
  },
  {
    name: "many mistakes at once",
    file: "klb.conf",
    text: lines(
      "servce {",
      "  bind 192.0.2.1",
      '  scheduler "rrr"',
      "  zeroconf_type foo_bar",
      "}",
      "",
      "service {",
      '  bind = "192.0.2.2:80"',
      '  frobnicate "1"',
      "} }",
      "foo",
    ),
    messages: [
      'klb.conf:1:1: unknown block "servce"; did you mean "service"?',
      'klb.conf:2:8: bind "192.0.2.1" has no port; write it like "192.0.2.1:80"',
      'klb.conf:3:13: unknown scheduler "rrr"; did you mean "rr"?',
      'klb.conf:4:17: "foo_bar" is not a service type: its name may only have letters, digits and "-"; write one like "foo" or "_foo._tcp"',
      'klb.conf:8:8: there is a "=" between "bind" and its value; write bind "192.0.2.10:80"',
      'klb.conf:9:3: unknown option "frobnicate"; options here are bind, scheduler, zeroconf_service, zeroconf_domain, zeroconf_interface, dns_srv, drain_timeout',
      'klb.conf:10:2: "}" follows "}"; leave "}" alone on its line, comments take a line of their own',
      'klb.conf:11:1: unknown option "foo"; options here are zeroconf_max_ttl, dns_resolvers, service',
    ],
  },
  {
    name: "an empty TOML file",
    file: "klb.toml",
    text: "",
    messages: [
      "klb.toml:1:1: no service is configured; add a [[service]] table with a bind and a zeroconf_service",
    ],
  },
  {
    name: "legacy syntax in a TOML file",
    file: "klb.toml",
    text: lines("service {", '  bind "192.0.2.1:80"', '  zeroconf_service "foo"', "}"),
    messages: [
      'klb.toml:1:1: this looks like the syntax of klb.conf, but a file named .toml is read as TOML; rename it to end in ".conf", or write it in TOML',
    ],
  },
  {
    name: "a misspelt TOML setting",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'shceduler = "rr"',
    ),
    messages: ['klb.toml:4:1: unknown setting "shceduler"; did you mean "scheduler"?'],
  },
  {
    name: "an unknown TOML setting",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "192.0.2.1:80"', 'zeroconf_service = "foo"', "weight = 5"),
    messages: [
      'klb.toml:4:1: unknown setting "weight"; settings here are name, bind, scheduler, zeroconf_service, zeroconf_domain, zeroconf_interface, dns_srv, drain_timeout',
    ],
  },
  {
    name: "the legacy spelling in TOML",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "192.0.2.1:80"', 'zeroconf_type = "foo"'),
    messages: [
      'klb.toml:3:1: unknown setting "zeroconf_type"; it is called "zeroconf_service" here',
    ],
  },
  {
    name: "a misspelt table",
    file: "klb.toml",
    text: lines("[[services]]", 'bind = "192.0.2.1:80"', 'zeroconf_service = "foo"'),
    messages: ['klb.toml:1:1: unknown setting "services"; did you mean "service"?'],
  },
  {
    name: "a single table",
    file: "klb.toml",
    text: lines("[service]", 'bind = "192.0.2.1:80"', 'zeroconf_service = "foo"'),
    messages: [
      "klb.toml:1:1: there can be several services, but this is a single table; write [[service]] above the settings of each service",
    ],
  },
  {
    name: "service as text",
    file: "klb.toml",
    text: 'service = "foo"\n',
    messages: [
      'klb.toml:1:1: "service" is not a list of tables; write [[service]] above the settings of each service',
    ],
  },
  {
    name: "a service setting at the top",
    file: "klb.toml",
    text: lines(
      'scheduler = "rr"',
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
    ),
    messages: ['klb.toml:1:1: "scheduler" stands outside of [[service]]; move it into [[service]]'],
  },
  {
    name: "a top-level setting in a service",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'zeroconf_max_ttl = "20s"',
    ),
    messages: [
      'klb.toml:4:1: "zeroconf_max_ttl" stands inside [[service]]; move it above the first table',
    ],
  },
  {
    name: "a TOML service without bind",
    file: "klb.toml",
    text: lines("[[service]]", 'zeroconf_service = "foo"'),
    messages: [
      'klb.toml:1:1: the service has no bind; add bind = "192.0.2.10:80", the address clients connect to',
    ],
  },
  {
    name: "values without quotes",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      "bind = 192.0.2.1:80",
      "scheduler = wrr # weighted",
      'zeroconf_service = "foo"',
      "drain_timeout = 5m",
    ),
    messages: [
      'klb.toml:2:8: the value of "bind" is not in double quotes; write bind = "192.0.2.1:80"',
      'klb.toml:3:13: the value of "scheduler" is not in double quotes; write scheduler = "wrr"',
      'klb.toml:5:17: the value of "drain_timeout" is not in double quotes; write drain_timeout = "5m"',
    ],
  },
  {
    name: "typographic quotes",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      "scheduler = “rr”",
    ),
    messages: [
      'klb.toml:4:13: the value of "scheduler" is not in double quotes; write scheduler = "rr"',
    ],
  },
  {
    name: "a TOML value without an end",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "192.0.2.1:80', 'zeroconf_service = "foo"'),
    messages: [
      'klb.toml:2:8: the value of "bind" has no closing "; end it with " on the same line',
    ],
  },
  {
    name: "a list without an end",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = ["192.0.2.1:80"', 'zeroconf_service = "foo"'),
    messages: ['klb.toml:2:8: the value of "bind" has no closing "]"; add it after the last item'],
  },
  {
    name: "a list without a comma",
    file: "klb.toml",
    text: lines("[[service]]", "bind = [", '  "192.0.2.1:80"', '  "192.0.2.2:80"', "]"),
    messages: [
      "klb.toml:4:3: there is no comma before '\"192.0.2.2:80\"'; put commas between the items of a list",
    ],
  },
  {
    name: "a setting twice",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'scheduler = "rr"',
      'scheduler = "wrr"',
    ),
    messages: ['klb.toml:5:1: "scheduler" is set twice; keep one of the two'],
  },
  {
    name: "a table header without its end",
    file: "klb.toml",
    text: lines("[[service]", 'bind = "192.0.2.1:80"', 'zeroconf_service = "foo"'),
    messages: ['klb.toml:1:11: the header "[[service]" is not valid; write it like [[service]]'],
  },
  {
    name: "legacy lines in a TOML table",
    file: "klb.toml",
    text: lines("[[service]]", 'bind "192.0.2.1:80"'),
    messages: ['klb.toml:2:6: there is no "=" after "bind"; write bind = "..."'],
  },
  {
    name: "no value",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "192.0.2.1:80"', 'zeroconf_service = "foo"', "scheduler ="),
    messages: ['klb.toml:4:12: "scheduler" has no value; write scheduler = "..."'],
  },
  {
    name: "a comment that TOML does not have",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'scheduler = "rr" // default',
    ),
    messages: [
      'klb.toml:4:18: "// default" follows the value of "scheduler"; remove it, or start a comment with "#"',
    ],
  },
  {
    name: "a number for a text",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      "drain_timeout = 300",
    ),
    messages: [
      'klb.toml:4:17: drain_timeout must be text in double quotes, not a number; write drain_timeout = "5m"',
    ],
  },
  {
    name: "a list with a number in it",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = ["192.0.2.1:80", 443]', 'zeroconf_service = "foo"'),
    messages: [
      'klb.toml:2:25: bind must be text in double quotes, not a number; write bind = "192.0.2.10:80"',
    ],
  },
  {
    name: "an empty list",
    file: "klb.toml",
    text: lines("[[service]]", "bind = []", 'zeroconf_service = "foo"'),
    messages: ['klb.toml:2:8: bind is an empty list; write bind = "192.0.2.10:80"'],
  },
  {
    name: "one bind twice in a list",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      "bind = [",
      '  "192.0.2.1:80",',
      '  "192.0.2.1:80",',
      "]",
      'zeroconf_service = "foo"',
    ),
    messages: [
      "klb.toml:4:3: 192.0.2.1:80 is already bound at klb.toml:3:3; give each service an address and port of its own",
    ],
  },
  {
    name: "a port name in TOML",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "192.0.2.1:http"', 'zeroconf_service = "foo"'),
    messages: ['klb.toml:2:8: "http" is not a port number; write 80'],
  },
  {
    name: "a short IPv4 address in TOML",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "10.1:80"', 'zeroconf_service = "foo"'),
    messages: [
      'klb.toml:2:8: "10.1" is not an IPv4 address of four decimal numbers; write "10.0.0.1" if that is what it means',
    ],
  },
  {
    name: "the unspecified address in TOML",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "0.0.0.0:80"', 'zeroconf_service = "foo"'),
    messages: [
      'klb.toml:2:8: no client can connect to 0.0.0.0, and IPVS has no address that means "all"; write the address clients connect to',
    ],
  },
  {
    name: "IPv4 inside IPv6",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "[::ffff:192.0.2.1]:80"', 'zeroconf_service = "foo"'),
    messages: [
      'klb.toml:2:8: "::ffff:192.0.2.1" is an IPv4 address inside an IPv6 one; write "192.0.2.1" without brackets',
    ],
  },
  {
    name: "an address with a zone",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "[fe80::1%eth0]:80"', 'zeroconf_service = "foo"'),
    messages: [
      'klb.toml:2:8: "fe80::1%eth0" names an interface; write the address without "%" and what follows it',
    ],
  },
  {
    name: "a name with a space",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'name = "my web"',
    ),
    messages: [
      'klb.toml:4:8: "my web" cannot be a name; write 1 to 64 letters, digits, ".", "_", ":" or "-"',
    ],
  },
  {
    name: "two services of one name",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'name = "web"',
      "",
      "[[service]]",
      'bind = "192.0.2.2:80"',
      'zeroconf_service = "foo"',
      'name = "web"',
    ),
    messages: [
      'klb.toml:9:8: the name "web" is already taken at klb.toml:4:8; give each service a name of its own, or none',
    ],
  },
  {
    name: "an interface with a slash",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'zeroconf_interface = "/dev/eth0"',
    ),
    messages: [
      'klb.toml:4:22: "/dev/eth0" cannot be the name of a network interface; write 1 to 15 characters without "/", ":" and white space, as "ip link" shows it',
    ],
  },
  {
    name: "a domain that is none",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'zeroconf_domain = "example..com"',
    ),
    messages: [
      'klb.toml:4:19: "example..com" is not a domain; write one like "local" or "example.com", or leave it out, which means "local"',
    ],
  },
  {
    name: "a name of SRV records that is none",
    file: "klb.toml",
    text: lines("[[service]]", 'bind = "192.0.2.1:80"', 'dns_srv = "_http._tcp"'),
    messages: [
      'klb.toml:3:11: "_http._tcp" is not the name of SRV records: it has no domain; write one like "_http._tcp.web.service.consul"',
    ],
  },
  {
    name: "a name of SRV records with a hole",
    file: "klb.conf",
    text: lines("service {", '  bind "192.0.2.1:80"', '  dns_srv "_http._tcp..consul"', "}"),
    messages: [
      'klb.conf:3:11: "_http._tcp..consul" is not the name of SRV records: a part of it is empty; write one like "_http._tcp.web.service.consul"',
    ],
  },
  {
    name: "members from two places",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'dns_srv = "_foo._tcp.example.com"',
    ),
    messages: [
      "klb.toml:4:11: the service has both dns_srv and zeroconf_service (klb.toml:3:20); keep the one by which its members are found",
    ],
  },
  {
    name: "DNS servers that are none",
    file: "klb.toml",
    text: lines(
      'dns_resolvers = ["ns.example.com", "2001:db8::53:5353:x", "0.0.0.0", "fe80::53", 53]',
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
    ),
    messages: [
      'klb.toml:1:18: "ns.example.com" is not the address of a DNS server; write it like "192.0.2.53", or with another port than 53 like "[2001:db8::53]:5353"',
      'klb.toml:1:36: "2001:db8::53:5353:x" is not the address of a DNS server; write it like "192.0.2.53", or with another port than 53 like "[2001:db8::53]:5353"',
      'klb.toml:1:59: no DNS server can have the address 0.0.0.0; write it like "192.0.2.53", or with another port than 53 like "[2001:db8::53]:5353"',
      'klb.toml:1:70: "fe80::53" does not say on which link the DNS server is; write "fe80::53%eth0" with the name of the interface',
      'klb.toml:1:82: dns_resolvers must be text in double quotes, not a number; write dns_resolvers = "192.0.2.53"',
    ],
  },
  {
    name: "no DNS server at all",
    file: "klb.toml",
    text: lines(
      "dns_resolvers = []",
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
    ),
    messages: [
      'klb.toml:1:17: dns_resolvers is an empty list; write dns_resolvers = "192.0.2.53"',
    ],
  },
  {
    name: "a DNS server inside a block",
    file: "klb.conf",
    text: lines(
      "service {",
      '  bind "192.0.2.1:80"',
      '  zeroconf_service "foo"',
      '  dns_resolvers "192.0.2.53"',
      "}",
    ),
    messages: [
      'klb.conf:4:3: "dns_resolvers" stands inside a service block; move it out of the block',
    ],
  },
  {
    name: "a duration with a space",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'drain_timeout = "5 min"',
    ),
    messages: [
      'klb.toml:4:17: "5 min" is not a duration; write a whole number with its unit: "250ms", "2s", "5m" or "1h"',
    ],
  },
  {
    name: "a duration that is too long",
    file: "klb.toml",
    text: lines(
      "[[service]]",
      'bind = "192.0.2.1:80"',
      'zeroconf_service = "foo"',
      'drain_timeout = "999h"',
    ),
    messages: ['klb.toml:4:17: "999h" is out of range; write a duration from "0s" to "168h"'],
  },
];

function lines(...lines: string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}

function parse({ file, text, files }: WrongConfig): Config {
  const bytes = new TextEncoder().encode(text);
  return file === "klb.toml"
    ? parseToml(file, bytes, lookUpWellKnownPort)
    : parseLegacy(file, bytes, memoryFiles(files ?? {}), lookUpWellKnownPort);
}

for (const config of wrong) {
  Deno.test(`wrong config: ${config.name}`, () => {
    assert.throws(() => parse(config), (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error));
      assert.deepEqual(error.message.split("\n"), config.messages);
      return true;
    });
  });
}
