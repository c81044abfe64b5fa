/**
 * Domain names as escaped text.
 *
 * A DNS-SD instance label may hold dots, spaces, backslashes and UTF-8 (RFC 6763 4.3), so a name
 * cannot be "labels joined by dots" without escaping: `Mr\. Printer v1\.0._ipp._tcp.local`. Escapes
 * are those of master files (RFC 1035 5.1): `\.`, `\\`, and `\DDD` for a byte that is not printable
 * UTF-8 text. The text has no final dot; the root is the empty text.
 *
 * @module
 */

/** Longest name on the wire, length bytes and the root included (RFC 1035 3.1). */
export const maxNameBytes = 255;
/** Longest label on the wire (RFC 1035 3.1). */
export const maxLabelBytes = 63;

/** Shows what is not UTF-8 as U+FFFD. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

const dot = 0x2e;
const backslash = 0x5c;

/** The escaped text of one label. */
export function escapeLabel(bytes: Uint8Array): string {
  let escaped = "";
  for (let at = 0; at < bytes.length;) {
    const code = codePointAt(bytes, at);
    if (code === undefined) return escapeBytes(bytes);
    escaped += escapeCharacter(code);
    at += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return escaped;
}

/** Not UTF-8: every byte above ASCII is shown by its number, and comes back as that byte. */
function escapeBytes(bytes: Uint8Array): string {
  let escaped = "";
  for (const byte of bytes) escaped += byte < 0x80 ? escapeCharacter(byte) : escapeNumber(byte);
  return escaped;
}

function escapeCharacter(code: number): string {
  if (code < 0x20 || code === 0x7f) return escapeNumber(code);
  const character = String.fromCodePoint(code);
  return code === dot || code === backslash ? "\\" + character : character;
}

function escapeNumber(byte: number): string {
  return "\\" + String(byte).padStart(3, "0");
}

/** The smallest code point that takes this many bytes. */
const smallest = [0, 0, 0x80, 0x800, 0x10000] as const;

/**
 * The UTF-8 character that starts at `at`, or undefined if none does (RFC 3629 4). TextDecoder says
 * the same so slowly that a packet full of tiny bad labels would cost 50 ms.
 */
function codePointAt(bytes: Uint8Array, at: number): number | undefined {
  const first = bytes[at]!;
  if (first < 0x80) return first;
  if (first < 0xc2 || first > 0xf4) return undefined;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  let code = first & 0x7f >> length;
  for (let i = 1; i < length; i++) {
    const byte = bytes[at + i];
    if (byte === undefined || (byte & 0xc0) !== 0x80) return undefined;
    code = code << 6 | byte & 0x3f;
  }
  const isSurrogate = code >= 0xd800 && code <= 0xdfff;
  return code < smallest[length] || code > 0x10ffff || isSurrogate ? undefined : code;
}

/** The labels of a name, each still escaped. */
export function splitName(name: string): string[] {
  if (name === "") return [];
  if (!name.includes("\\")) return name.split(".");
  const labels: string[] = [];
  let start = 0;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code === backslash) i++;
    else if (code === dot) {
      labels.push(name.slice(start, i));
      start = i + 1;
    }
  }
  labels.push(name.slice(start));
  return labels;
}

/** The bytes of one escaped label. A `\` at the end, or before a number above 255, stands for itself. */
export function labelToBytes(label: string): Uint8Array {
  if (!label.includes("\\")) return encoder.encode(label);
  const bytes: number[] = [];
  let plain = "";
  const flush = () => {
    for (const byte of encoder.encode(plain)) bytes.push(byte);
    plain = "";
  };
  for (let i = 0; i < label.length; i++) {
    if (label.charCodeAt(i) !== backslash || i + 1 === label.length) {
      plain += label[i];
      continue;
    }
    const digits = /^\d{3}/.exec(label.slice(i + 1, i + 4))?.[0];
    if (digits && Number(digits) <= 255) {
      flush();
      bytes.push(Number(digits));
      i += 3;
    } else {
      plain += label[++i];
    }
  }
  flush();
  return Uint8Array.from(bytes);
}

/** A label as people read it: `Mr. Printer v1.0`. Bytes that are not UTF-8 show as U+FFFD. */
export function labelToText(label: string): string {
  return label.includes("\\") ? utf8.decode(labelToBytes(label)) : label;
}

/** Escapes text a person wrote (an instance label) for use in a name. */
export function textToLabel(text: string): string {
  return escapeLabel(encoder.encode(text));
}

/** True when the name can be written to a packet: no empty label, none over 63 bytes, 255 in all. */
export function isEncodable(name: string): boolean {
  let bytes = 1;
  for (const label of splitName(name)) {
    const { length } = labelToBytes(label);
    if (length === 0 || length > maxLabelBytes) return false;
    bytes += length + 1;
  }
  return bytes <= maxNameBytes;
}

/** The name under which caches file a name: ASCII letters are equal in both cases (RFC 6762 16). */
export function foldName(name: string): string {
  // toLowerCase would also fold letters outside ASCII.
  return /[A-Z]/.test(name) ? name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()) : name;
}
