/**
 * Readers of single values: text as written -> what it means.
 *
 * A reader returns undefined after it has reported an error, so that its caller can go on and find
 * the next one.
 *
 * @module
 */
import {
  type Endpoint,
  familyOf,
  formatEndpoint,
  type Ip,
  ipFromBytes,
  isLinkLocal,
  isMulticast,
  isUnspecified,
  parseIp,
} from "../model/address.ts";
import { defaultDnsPort, type Nameserver, parseNameserver } from "../model/nameserver.ts";
import { nearest } from "../suggest.ts";
import { quote } from "./problem.ts";
import { type Dialect, schedulers } from "./schema.ts";

/** Looks up a TCP service name (`http`) and returns its port, or undefined. */
export type PortLookup = (name: string) => number | undefined;

/** What a reader is told about the file it reads for, and where its findings go. */
export interface Report {
  readonly dialect: Dialect;
  readonly lookUpPort: PortLookup;
  /** The value cannot be used. */
  error(what: string, fix: string): undefined;
  /** The value can be used, but is hardly what was meant. */
  warn(what: string, fix: string): void;
}

/** A reader of one type of value. */
export type Reader<T> = (text: string, report: Report) => T | undefined;

const units: readonly (readonly [string, number])[] = [
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
];

/** Milliseconds of `250ms`, `2s`, `5m` or `1h`; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, digits, unit] = /^([0-9]{1,12})(ms|s|m|h)$/.exec(text) ?? [];
  const factor = units.find(([name]) => name === unit)?.[1];
  return factor === undefined ? undefined : Number(digits) * factor;
}

/** The shortest text {@link parseDuration} reads as this many whole milliseconds. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return "0s";
  const [name, factor] = units.find(([, factor]) => milliseconds % factor === 0)!;
  return `${milliseconds / factor}${name}`;
}

/** A duration between two others, both as they would be written. */
export function durationReader(range: readonly [string, string]): Reader<number> {
  const [shortest, longest] = range;
  return (text, report) => {
    const value = parseDuration(text);
    if (value === undefined) {
      return report.error(
        `${quote(text)} is not a duration`,
        'write a whole number with its unit: "250ms", "2s", "5m" or "1h"',
      );
    }
    if (value < parseDuration(shortest)! || value > parseDuration(longest)!) {
      return report.error(
        `${quote(text)} is out of range`,
        `write a duration from "${shortest}" to "${longest}"`,
      );
    }
    return value;
  };
}

/** A name for logs and commands. */
export function readName(text: string, report: Report): string | undefined {
  if (/^[A-Za-z0-9._:-]{1,64}$/.test(text)) return text;
  return report.error(
    `${quote(text)} cannot be a name`,
    'write 1 to 64 letters, digits, ".", "_", ":" or "-"',
  );
}

/** One of the kernel's schedulers. */
export function readScheduler(text: string, report: Report): string | undefined {
  if (schedulers.includes(text)) return text;
  const near = nearest(text.toLowerCase(), schedulers);
  return report.error(
    `unknown scheduler ${quote(text)}`,
    near ? `did you mean ${quote(near)}?` : `use one of ${schedulers.join(", ")}`,
  );
}

/** `foo` or `_foo._tcp` (RFC 6763 7, RFC 6335 5.1); returns the long form. */
export function readServiceType(text: string, report: Report): string | undefined {
  const { name, protocol } = splitServiceType(text);
  const wrong = whatIsWrongWithType(name, protocol);
  if (wrong !== undefined) {
    // What people write instead: a final dot, one of the underscores missing.
    const repaired = splitServiceType(
      text.replace(/\.$/, "").replace(
        /^_?([^._]+)(?:\._?(tcp|udp))?$/i,
        (_, name, protocol) => `_${name}._${(protocol ?? "tcp").toLowerCase()}`,
      ),
    );
    return report.error(
      `${quote(text)} is not a service type: ${wrong}`,
      whatIsWrongWithType(repaired.name, repaired.protocol) === undefined
        ? `write "_${repaired.name}.${repaired.protocol}"`
        : 'write one like "foo" or "_foo._tcp"',
    );
  }
  if (protocol === "_udp") {
    report.warn(
      `${quote(text)} finds UDP servers, but the service balances TCP`,
      `write "_${name}._tcp" if they are TCP servers`,
    );
  }
  return `_${name}.${protocol}`;
}

function splitServiceType(text: string): { name: string; protocol: string } {
  if (!text.startsWith("_") || !text.includes(".")) return { name: text, protocol: "_tcp" };
  const dot = text.indexOf(".");
  return { name: text.slice(1, dot), protocol: text.slice(dot + 1) };
}

function whatIsWrongWithType(name: string, protocol: string): string | undefined {
  if (/^[^_].*\./s.test(name)) return 'it must start with "_"';
  if (protocol !== "_tcp" && protocol !== "_udp") return 'it must end in "._tcp" or "._udp"';
  if (!/^[A-Za-z0-9-]*$/.test(name)) return 'its name may only have letters, digits and "-"';
  if (name.length < 1 || name.length > 15) return "its name must have 1 to 15 characters";
  if (!/[A-Za-z]/.test(name)) return "its name must have at least one letter";
}

/**
 * A DNS domain. The legacy dialect takes any text: its daemon passed it on unread, and found nothing
 * where it was none.
 */
export function readDomain(text: string, report: Report): string | undefined {
  const labels = text.replace(/\.$/, "").split(".");
  const valid = text.length <= 254 &&
    labels.every((label) => /^[^\p{Cc}\s]+$/u.test(label) && utf8Length(label) <= 63);
  if (valid) return text;
  const what = `${quote(text)} is not a domain`;
  const fix = 'write one like "local" or "example.com", or leave it out, which means "local"';
  if (report.dialect === "toml") return report.error(what, fix);
  report.warn(`${what}, nothing will be found`, fix);
  return text;
}

/** The name of SRV records; returns it without the final dot. */
export function readSrvName(text: string, report: Report): string | undefined {
  const name = text.replace(/\.$/, "");
  const labels = name.split(".");
  const wrong = labels.some((label) => label === "")
    ? "a part of it is empty"
    : !/^[A-Za-z0-9._-]*$/.test(name)
    ? 'it may only have letters, digits, ".", "_" and "-"'
    : labels.some((label) => label.length > 63)
    ? "a part of it has more than 63 characters"
    : name.length > 253
    ? "it has more than 253 characters"
    : labels.every((label) => label.startsWith("_"))
    ? "it has no domain"
    : undefined;
  if (wrong === undefined) return name;
  return report.error(
    `${quote(text)} is not the name of SRV records: ${wrong}`,
    'write one like "_http._tcp.web.service.consul"',
  );
}

/** `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53`, `[2001:db8::53]:5353` or `fe80::53%eth0`. */
export function readResolver(text: string, report: Report): Nameserver | undefined {
  const server = parseNameserver(text);
  const fix = `write it like "192.0.2.53", or with another port than ${defaultDnsPort} like ` +
    '"[2001:db8::53]:5353"';
  if (!server) return report.error(`${quote(text)} is not the address of a DNS server`, fix);
  const { address, zone } = server;
  if (isUnspecified(address) || isMulticast(address) || address === "255.255.255.255") {
    return report.error(`no DNS server can have the address ${address}`, fix);
  }
  if (isLinkLocal(address) && familyOf(address) === "ipv6" && zone === "") {
    return report.error(
      `${quote(text)} does not say on which link the DNS server is`,
      `write "${address}%eth0" with the name of the interface`,
    );
  }
  return server;
}

/**
 * A network interface name (dev_valid_name of net/core/dev.c, IFNAMSIZ of linux/if.h). The legacy
 * dialect takes any text, its daemon failed later.
 */
export function readInterface(text: string, report: Report): string | undefined {
  const valid = utf8Length(text) <= 15 && /^[^/:\p{Cc}\s]+$/u.test(text) && !/^\.\.?$/.test(text);
  if (valid) return text;
  const what = `${quote(text)} cannot be the name of a network interface`;
  const fix = 'write 1 to 15 characters without "/", ":" and white space, as "ip link" shows it';
  if (report.dialect === "toml") return report.error(what, fix);
  report.warn(what, fix);
  return text;
}

/**
 * `192.0.2.10:80` or `[2001:db8::10]:80`. The legacy dialect also takes what its daemon's
 * getaddrinfo() took: inet_aton() forms of IPv4 (`127.1`, hexadecimal, octal), brackets around them,
 * and port names.
 */
export function readEndpoint(text: string, report: Report): Endpoint | undefined {
  const [, bracketed, host, portText] = /^(?:\[(.*)\]|([^:]*)):([^:]*)$/s.exec(text) ?? [];
  if (portText === undefined) return explainNoPort(text, report);
  const address = bracketed !== undefined
    ? readBracketed(bracketed, report)
    : readIpv4(host!, report);
  const port = readPort(portText, report);
  if (address === undefined || port === undefined) return undefined;
  if (isUnspecified(address) || isMulticast(address) || address === "255.255.255.255") {
    const what = `no client can connect to ${address}, and IPVS has no address that means "all"`;
    const fix = "write the address clients connect to";
    if (report.dialect === "toml") return report.error(what, fix);
    report.warn(what, fix);
  }
  return { address, port };
}

function explainNoPort(text: string, report: Report): undefined {
  if (text === "*") return explainAnyAddress(text, report);
  const host = text.replace(/^\[(.*)\]$/s, "$1");
  const address = parseIp(host) ?? parseInetAton(host);
  if (address !== undefined && text !== host || address && familyOf(address) === "ipv4") {
    return report.error(
      `bind ${quote(text)} has no port`,
      `write it like ${quote(formatEndpoint({ address, port: 80 }))}`,
    );
  }
  if (text.split(":").length > 2 && /^[0-9a-fA-F:.[\]]+$/.test(text) && /::|[a-fA-F[]/.test(text)) {
    return report.error(
      `bind ${quote(text)} is not an IPv6 address in brackets with a port`,
      'write it like "[2001:db8::10]:80"',
    );
  }
  return report.error(
    `bind ${quote(text)} is not an address and a port`,
    'write it like "192.0.2.10:80"',
  );
}

function readBracketed(text: string, report: Report): Ip | undefined {
  if (text.includes("%")) {
    return report.error(
      `${quote(text)} names an interface`,
      'write the address without "%" and what follows it',
    );
  }
  const address = parseIp(text);
  if (address?.startsWith("::ffff:") && address.includes(".")) {
    return report.error(
      `${quote(text)} is an IPv4 address inside an IPv6 one`,
      `write ${quote(address.slice("::ffff:".length))} without brackets`,
    );
  }
  if (address?.includes(":")) return address;
  if (report.dialect === "legacy" && !text.includes(":")) return readIpv4(text, report);
  return report.error(
    `${quote(text)} is not an IPv6 address`,
    'write it like "[2001:db8::10]:80", and IPv4 without brackets',
  );
}

function readIpv4(text: string, report: Report): Ip | undefined {
  const strict = parseIp(text);
  if (strict !== undefined) return strict;
  const loose = parseInetAton(text);
  if (loose !== undefined && report.dialect === "legacy") {
    // 010.0.0.1 surprises everyone; 127.1 and 0x7f000001 are hardly written by accident.
    if (/(^|\.)0[0-9]/.test(text)) {
      report.warn(
        `${quote(text)} means ${loose}, because a leading zero makes a number octal`,
        "write it without leading zeros",
      );
    }
    return loose;
  }
  if (loose !== undefined) {
    return report.error(
      `${quote(text)} is not an IPv4 address of four decimal numbers`,
      `write ${quote(loose)} if that is what it means`,
    );
  }
  if (text === "" || text === "*") return explainAnyAddress(text, report);
  if (/\s/.test(text)) {
    return report.error(`${quote(text)} has white space in it`, 'write it like "192.0.2.10:80"');
  }
  if (/^[0-9.]+$/.test(text)) {
    return report.error(
      `${quote(text)} is not an IPv4 address`,
      'write four numbers from 0 to 255, like "192.0.2.10"',
    );
  }
  return report.error(
    `${quote(text)} is not an IP address`,
    'write an address like "192.0.2.10", because host names are not looked up',
  );
}

function explainAnyAddress(text: string, report: Report): undefined {
  return report.error(
    text === ""
      ? "the address is missing"
      : `"*" is no address, and IPVS has none that means "all"`,
    "write the address clients connect to",
  );
}

/**
 * The address of an inet_aton(3) text: one to four decimal, octal (`010`) or hexadecimal (`0x8`)
 * numbers, the last of which fills all bytes that remain.
 */
export function parseInetAton(text: string): Ip | undefined {
  const parts = text.split(".");
  if (parts.length > 4) return undefined;
  const bytes = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    if (!/^(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.test(part)) return undefined;
    const octal = /^0[0-7]+$/.test(part);
    const value = octal ? parseInt(part, 8) : Number(part);
    const width = i === parts.length - 1 ? 4 - i : 1;
    if (value >= 256 ** width) return undefined;
    for (let j = 0; j < width; j++) {
      bytes[i + j] = Math.floor(value / 256 ** (width - 1 - j)) % 256;
    }
  }
  return ipFromBytes(bytes);
}

function readPort(text: string, report: Report): number | undefined {
  // The old daemon read ports with strtoul(): white space and "+" may lead. It also took 65616 for
  // 80, which is refused here.
  const digits = report.dialect === "legacy"
    // deno-lint-ignore no-control-regex
    ? /^[\x09-\x0d\x20]*\+?([0-9]+)$/.exec(text)?.[1]
    : /^[0-9]+$/.exec(text)?.[0];
  if (digits !== undefined) {
    const port = Number(digits);
    if (port >= 1 && port <= 65535) return port;
    return report.error(`there is no port ${digits}`, "write a port from 1 to 65535");
  }
  const port = report.lookUpPort(text);
  if (port === undefined) {
    return report.error(
      text === "" ? "the port is missing" : `${quote(text)} is not a port`,
      report.dialect === "legacy"
        ? "write a number from 1 to 65535, or a TCP service name of /etc/services"
        : "write a number from 1 to 65535",
    );
  }
  if (report.dialect === "legacy") return port;
  return report.error(`${quote(text)} is not a port number`, `write ${port}`);
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length;
}
