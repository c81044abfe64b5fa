/**
 * IP addresses and endpoints: parse, format, compare.
 *
 * An address is kept as its canonical text. That makes it a Map key and lets `===` compare it; the
 * bytes exist only where a packet or a netlink message is written.
 *
 * @module
 */

declare const brand: unique symbol;

/** An IP address in canonical text: dotted quad, or RFC 5952 for IPv6. Never carries a zone. */
export type Ip = string & { readonly [brand]: "Ip" };

/** The two address families IPVS knows. */
export type Family = "ipv4" | "ipv6";

/** An address and a port in host order (1-65535 where it names a real listener). */
export interface Endpoint {
  readonly address: Ip;
  readonly port: number;
}

/** The family an address belongs to. */
export function familyOf(address: Ip): Family {
  return address.includes(":") ? "ipv6" : "ipv4";
}

/** Number of bytes of an address of this family. */
export function addressLength(family: Family): 4 | 16 {
  return family === "ipv4" ? 4 : 16;
}

/** Reads a strict dotted quad (no leading zeros, four decimal parts) or any RFC 4291 IPv6 text. */
export function parseIp(text: string): Ip | undefined {
  const bytes = text.includes(":") ? parseV6(text) : parseV4(text);
  return bytes && ipFromBytes(bytes);
}

/**
 * The canonical address of 4 or 16 bytes in network order.
 *
 * @throws {RangeError} for any other length: the caller has a bug, network input is bounded earlier.
 */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length === 4) {
    return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Ip;
  }
  if (bytes.length === 16) return formatV6(bytes) as Ip;
  throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
}

/** The bytes of an address in network order: 4 for IPv4, 16 for IPv6. */
export function ipToBytes(address: Ip): Uint8Array {
  const bytes = address.includes(":") ? parseV6(address) : parseV4(address);
  if (!bytes) throw new RangeError(`not a canonical IP address: ${address}`);
  return bytes;
}

/** `192.0.2.1:80` or `[2001:db8::1]:80`. */
export function formatEndpoint(endpoint: Endpoint): string {
  return endpoint.address.includes(":")
    ? `[${endpoint.address}]:${endpoint.port}`
    : `${endpoint.address}:${endpoint.port}`;
}

/** Orders addresses numerically, IPv4 before IPv6, so that listings are stable and readable. */
export function compareIp(a: Ip, b: Ip): number {
  const x = ipToBytes(a);
  const y = ipToBytes(b);
  if (x.length !== y.length) return x.length - y.length;
  for (let i = 0; i < x.length; i++) {
    const difference = x[i]! - y[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Orders endpoints by address, then by port. */
export function compareEndpoint(a: Endpoint, b: Endpoint): number {
  return compareIp(a.address, b.address) || a.port - b.port;
}

/** fe80::/10 or 169.254.0.0/16: meaningful only together with an interface. */
export function isLinkLocal(address: Ip): boolean {
  const bytes = ipToBytes(address);
  return bytes.length === 4
    ? bytes[0] === 169 && bytes[1] === 254
    : bytes[0] === 0xfe && (bytes[1]! & 0xc0) === 0x80;
}

/** 127.0.0.0/8 or ::1. */
export function isLoopback(address: Ip): boolean {
  return address === "::1" || /^127\./.test(address);
}

/** 0.0.0.0 or ::. */
export function isUnspecified(address: Ip): boolean {
  return address === "0.0.0.0" || address === "::";
}

/** 224.0.0.0/4 or ff00::/8. */
export function isMulticast(address: Ip): boolean {
  const bytes = ipToBytes(address);
  return bytes.length === 4 ? (bytes[0]! & 0xf0) === 0xe0 : bytes[0] === 0xff;
}

function parseV4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let part = 0;
  let value = -1;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0x2e;
    if (code === 0x2e) {
      if (value < 0 || part === 4) return undefined;
      bytes[part++] = value;
      value = -1;
      continue;
    }
    // A leading zero is refused: inet_aton would read it as octal, a person as decimal.
    if (code < 0x30 || code > 0x39 || value === 0) return undefined;
    value = (value < 0 ? 0 : value) * 10 + code - 0x30;
    if (value > 255) return undefined;
  }
  return part === 4 ? bytes : undefined;
}

function parseV6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  const count = head.length + tail.length;
  // "::" stands for at least one group (RFC 4291 2.2).
  if (halves.length === 1 ? count !== 8 : count > 7) return undefined;
  const groups = [...head, ...new Array<number>(8 - count).fill(0), ...tail];
  const bytes = new Uint8Array(16);
  groups.forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

/** Colon-separated hex groups; only the last may be a dotted quad, and only where the text ends. */
function parseGroups(text: string, ends: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (part.includes(".")) {
      if (!ends || i !== parts.length - 1) return undefined;
      const quad = parseV4(part);
      if (!quad) return undefined;
      groups.push(quad[0]! << 8 | quad[1]!, quad[2]! << 8 | quad[3]!);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(parseInt(part, 16));
    }
  }
  return groups;
}

function formatV6(bytes: Uint8Array): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(bytes[i]! << 8 | bytes[i + 1]!);
  // RFC 5952 4.2: shorten the longest run of two or more zero groups, the first of equals.
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8;) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    i = end === i ? i + 1 : end;
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  // RFC 5952 5: an IPv4-mapped address shows its IPv4 half.
  if (start === 0 && length === 5 && groups[5] === 0xffff) {
    return `::ffff:${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`;
  }
  if (start < 0) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}
