/**
 * Command line arguments. The only importer of the argument parser, so that another (`@std/cli`)
 * can take its place by changing this file.
 *
 * @module
 */
import { parseArgs, type ParseArgsConfig } from "node:util";

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
    throw new UsageError(message.split(". ")[0]!.replace(/\.$/, ""));
  }
}

/**
 * The candidate a misspelt word most likely meant, or undefined when none is near: at most a third
 * of the letters may differ.
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Letters to insert, delete, replace or swap with their neighbour (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let value = Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        value = Math.min(value, beforePrevious[j - 2]! + 1);
      }
      current.push(value);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length]!;
}
