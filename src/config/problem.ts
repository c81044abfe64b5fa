/**
 * What can be wrong with a config, where it is, and how a person is told.
 *
 * @module
 */

/** A place in a config file. Lines and columns count from 1; columns count UTF-16 code units. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A position, and the `@include` lines that lead to its file, outermost first. */
export interface Place {
  readonly position: SourcePosition;
  readonly includedFrom?: readonly SourcePosition[];
}

/** One thing that is wrong with a config, or, as a warning, probably not what was meant. */
export interface Problem extends Place {
  /** Dotted path of the setting: `service.0.bind`. */
  readonly setting?: string;
  /** What is wrong. */
  readonly what: string;
  /** What would be right. */
  readonly fix: string;
}

/** A config that cannot be used, with every problem found in it, sorted by position. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join("\n"));
    this.problems = problems;
  }
}

/**
 * `FILE:LINE:COLUMN: what is wrong; what would be right`, always one line. A problem in an included
 * file names every level, outermost first: `a.conf:2:10: in b.conf:1:1: ...`.
 */
export function formatProblem(problem: Problem): string {
  return formatPlace(problem) + printable(`${problem.what}; ${problem.fix}`);
}

/** The same for a warning: `FILE:LINE:COLUMN: warning: ...`. */
export function formatWarning(problem: Problem): string {
  return `${formatPlace(problem)}warning: ${printable(`${problem.what}; ${problem.fix}`)}`;
}

/** `FILE:LINE:COLUMN`. */
export function formatPosition(position: SourcePosition): string {
  return printable(`${position.file}:${position.line}:${position.column}`);
}

/** Orders problems as a reader meets them, following includes where they are written. */
export function compareProblems(a: Problem, b: Problem): number {
  const x = levels(a);
  const y = levels(b);
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const [p, q] = [x[i]!, y[i]!];
    // Files differ only where one include line names several (a glob), or in the main file never.
    const byFile = p.file < q.file ? -1 : p.file > q.file ? 1 : 0;
    const difference = byFile || p.line - q.line || p.column - q.column;
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
}

/** User text for a message: in quotes, and cut where it is too long to help. */
export function quote(text: string): string {
  const mark = text.includes('"') && !text.includes("'") ? "'" : '"';
  return mark + (text.length > 60 ? `${text.slice(0, 57)}...` : text) + mark;
}

/** How many errors are kept: a binary file taken for a config would have thousands. */
const errorLimit = 200;

/** Gathers errors and warnings, so that a person sees every one of them at once. */
export class ProblemList {
  readonly #errors: Problem[] = [];
  readonly #warnings: Problem[] = [];

  /** Notes an error: the config cannot be used. Always returns undefined, the value not had. */
  error(place: Place, what: string, fix: string, setting?: string): undefined {
    if (this.#errors.length <= errorLimit) this.#errors.push(problem(place, what, fix, setting));
  }

  /** Notes a warning: the config can be used. */
  warn(place: Place, what: string, fix: string, setting?: string): void {
    if (this.#warnings.length < errorLimit) {
      this.#warnings.push(problem(place, what, fix, setting));
    }
  }

  /** True once anything is wrong. */
  get failed(): boolean {
    return this.#errors.length > 0;
  }

  /** True when it is pointless to look for more. */
  get full(): boolean {
    return this.#errors.length > errorLimit;
  }

  /** The warnings, sorted by position. */
  get warnings(): readonly Problem[] {
    return this.#warnings.toSorted(compareProblems);
  }

  /** @throws {ConfigError} when there is any error. */
  throwIfFailed(): void {
    if (!this.failed) return;
    const errors = this.#errors.slice(0, errorLimit).sort(compareProblems);
    if (this.full) {
      const last = errors[errors.length - 1]!;
      errors.push({
        ...last,
        what: `more than ${errorLimit} problems, the others are not shown`,
        fix: "is this the right file?",
      });
    }
    throw new ConfigError(errors);
  }
}

function problem(place: Place, what: string, fix: string, setting?: string): Problem {
  return {
    position: place.position,
    ...(place.includedFrom?.length ? { includedFrom: place.includedFrom } : {}),
    ...(setting === undefined ? {} : { setting }),
    what,
    fix,
  };
}

function levels(place: Place): SourcePosition[] {
  return [...place.includedFrom ?? [], place.position];
}

function formatPlace(place: Place): string {
  return levels(place).map(formatPosition).join(": in ") + ": ";
}

/** Keeps one problem on one line, and terminal control sequences out of it. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\u2028\u2029]/gu,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
