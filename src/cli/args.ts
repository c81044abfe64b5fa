/**
 * Command line arguments. The only importer of the argument parser, so that another (`@std/cli`)
 * can take its place by changing this file.
 *
 * @module
 */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { nearest } from "../suggest.ts";

/** A wrong command line: the message is for the user, the exit status is 64 (EX_USAGE). */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Long options a command takes, as `node:util` describes them. */
export type Options = NonNullable<ParseArgsConfig["options"]>;

/** Parsed options and the words beside them. */
export interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  readonly positionals: readonly string[];
}

/**
 * Parses `args` strictly.
 *
 * @throws {UsageError} for an unknown option (with a suggestion), a missing value or a stray word.
 */
export function parseArguments(
  args: readonly string[],
  options: Options,
  allowPositionals = false,
): Arguments {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      allowPositionals,
      strict: true,
    });
    return { values: values as Arguments["values"], positionals };
  } catch (error) {
    const message = (error as Error).message;
    const unknown = /Unknown option '(-{1,2})([^']+)'/.exec(message);
    if (unknown) {
      const near = nearest(unknown[2]!, Object.keys(options));
      throw new UsageError(
        `unknown option ${unknown[1]}${unknown[2]}` + (near ? `; did you mean --${near}?` : ""),
      );
    }
    const stray = /Unexpected argument '([^']*)'/.exec(message);
    if (stray) throw new UsageError(`unexpected argument ${stray[1]}`);
    const missing = /Option '(?:-\w, )?(--[^ ']+)[^']*' argument missing/.exec(message);
    if (missing) throw new UsageError(`${missing[1]} wants a value`);
    throw new UsageError(message.split("\n")[0]!.replace(/\.$/, ""));
  }
}
