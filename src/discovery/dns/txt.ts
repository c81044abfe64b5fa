/**
 * DNS-SD TXT records as key/value pairs (RFC 6763 6.4).
 *
 * @module
 */

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Keys are lower-cased (they are case-insensitive) and the first of equals wins. A string without
 * `=` is a key whose value is `null`; `key=` has the empty value; a string that starts with `=` and
 * one whose key is not printable ASCII are ignored.
 */
export function parseTxt(strings: readonly Uint8Array[]): Map<string, string | null> {
  const pairs = new Map<string, string | null>();
  for (const string of strings) {
    const equals = string.indexOf(0x3d);
    const keyBytes = equals < 0 ? string : string.subarray(0, equals);
    if (keyBytes.length === 0 || keyBytes.some((byte) => byte < 0x20 || byte > 0x7e)) continue;
    const key = String.fromCharCode(...keyBytes).toLowerCase();
    if (pairs.has(key)) continue;
    pairs.set(key, equals < 0 ? null : utf8.decode(string.subarray(equals + 1)));
  }
  return pairs;
}
