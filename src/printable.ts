/**
 * Text from the network, made safe to print.
 *
 * @module
 */

/**
 * Announcers choose names; none may steer a terminal (control characters), fake a line of the log
 * (line breaks) or reverse what a person reads (bidirectional formatting).
 */
export function printable(text: string): string {
  return text.replace(unprintable, "\ufffd");
}

const unprintable =
  // deno-lint-ignore no-control-regex
  /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
