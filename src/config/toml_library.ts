/**
 * The only importer of the TOML library, so that another (`@std/toml`) can take its place by
 * changing this file.
 *
 * @module
 */
import { parse, TomlError } from "smol-toml";

/** Text that is not TOML. Line and column count from 1 and say where it was noticed. */
export class TomlSyntaxError extends Error {
  override readonly name = "TomlSyntaxError";
  readonly line: number;
  readonly column: number;

  constructor(message: string, line: number, column: number) {
    super(message);
    this.line = line;
    this.column = column;
  }
}

/**
 * Parses a TOML document into plain objects, lists, text, numbers, booleans and dates.
 *
 * @throws {TomlSyntaxError} for the first thing that is wrong with it.
 */
export function parseTomlText(text: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The message goes on with a picture of the lines.
    const message = error.message.split("\n")[0]!.replace(/^Invalid TOML document: /, "");
    throw new TomlSyntaxError(message, error.line, error.column);
  }
}
