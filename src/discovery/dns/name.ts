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

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

const dot = 0x2e;
const backslash = 0x5c;

/** The escaped text of one label. */
export function escapeLabel(bytes: Uint8Array): string {
  let plain = "";
  for (const byte of bytes) {
    if (byte <= 0x20 || byte >= 0x7f || byte === dot || byte === backslash) {
      return escapeUnusual(bytes);
    }
    plain += String.fromCharCode(byte);
  }
  return plain;
}

function escapeUnusual(bytes: Uint8Array): string {
  let text: string;
  try {
    text = strictUtf8.decode(bytes);
  } catch {
    // Not UTF-8: every byte above ASCII is shown by its number, and comes back as that byte.
    return escapeCharacters(Array.from(bytes, (byte) => String.fromCharCode(byte)), 0x7f);
  }
  return escapeCharacters(text, Infinity);
}

function escapeCharacters(characters: Iterable<string>, firstNumeric: number): string {
  let escaped = "";
  for (const character of characters) {
    const code = character.codePointAt(0)!;
    if (code < 0x20 || code === 0x7f || code >= firstNumeric) {
      escaped += "\\" + String(code).padStart(3, "0");
    } else if (code === dot || code === backslash) {
      escaped += "\\" + character;
    } else {
      escaped += character;
    }
  }
  return escaped;
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
  if (!label.includes("\\")) return utf8.encode(label);
  const bytes: number[] = [];
  let plain = "";
  const flush = () => {
    bytes.push(...utf8.encode(plain));
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
  return label.includes("\\") ? new TextDecoder().decode(labelToBytes(label)) : label;
}

/** Escapes text a person wrote (an instance label) for use in a name. */
export function textToLabel(text: string): string {
  return escapeLabel(utf8.encode(text));
}

/** The name under which caches file a name: ASCII letters are equal in both cases (RFC 6762 16). */
export function foldName(name: string): string {
  // toLowerCase would also fold letters outside ASCII.
  return /[A-Z]/.test(name) ? name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()) : name;
}
