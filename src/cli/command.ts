/**
 * What a command is, and what it is handed. Commands never touch the process: `main.ts` does.
 *
 * @module
 */

/** Exit statuses (sysexits.h where one fits). */
export const Exit = {
  ok: 0,
  failure: 1,
  /** EX_USAGE: the command line was wrong. */
  usage: 64,
  /** EX_UNAVAILABLE: the kernel, a library or a permission is missing. */
  unavailable: 69,
  /** EX_CONFIG: the config was wrong. */
  config: 78,
} as const;

/** A terminal that can be drawn on. */
export interface Terminal {
  /** Its width and height in characters, now. */
  size(): { readonly columns: number; readonly rows: number };
}

/** Where a command writes, and how it learns that it should end. */
export interface CommandContext {
  /** Writes a line to standard output. */
  readonly out: (line: string) => void;
  /** Writes a line to standard error. */
  readonly err: (line: string) => void;
  /** Aborted on SIGTERM and SIGINT. */
  readonly signal: AbortSignal;
  /** The terminal that standard output is, if it is one. */
  readonly terminal: Terminal | undefined;
}

/** One `klb COMMAND`. */
export interface Command {
  readonly name: string;
  /** One line for `klb help`. */
  readonly summary: string;
  /** The whole text of `klb help COMMAND`. */
  readonly help: string;
  /** Runs it; resolves to the exit status. */
  run(args: readonly string[], context: CommandContext): Promise<number>;
}
