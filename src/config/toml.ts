/**
 * The TOML dialect: `[[service]]` tables with the same settings as the legacy dialect, and more.
 *
 * @module
 */
import { type Place, ProblemList, quote } from "./problem.ts";
import { type Config, ConfigError, explainUnknown, findSetting, type Setting } from "./schema.ts";
import { parseTomlText, TomlSyntaxError } from "./toml_library.ts";
import { locateToml, type TomlPath, type TomlPositions } from "./toml_positions.ts";
import { type RawService, type RawValue, reported, validate } from "./validate.ts";
import type { PortLookup } from "./values.ts";

/**
 * Reads a config in TOML.
 *
 * @throws {ConfigError} with every problem, when there is any.
 */
export function parseToml(file: string, bytes: Uint8Array, lookUpPort: PortLookup): Config {
  const problems = new ProblemList();
  const text = decode(file, bytes);
  refuseLegacy(file, text);
  const document = parseRepairing(file, text, problems);
  const reader = new DocumentReader(file, document, problems);
  reader.read();
  return validate(
    { file, dialect: "toml", settings: reader.settings, services: reader.services },
    lookUpPort,
    problems,
  );
}

function decode(file: string, bytes: Uint8Array): string {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    return decoder.decode(bytes);
  } catch {
    const line = new TextDecoder().decode(bytes).split("\n").findIndex((line) =>
      line.includes("\ufffd")
    );
    throw new ConfigError([{
      position: { file, line: line + 1, column: 1 },
      what: "the file is not valid UTF-8",
      fix: "save it as UTF-8",
    }]);
  }
}

/** A whole klb.conf under a TOML name would give an error a line: say the one thing that helps. */
function refuseLegacy(file: string, text: string): void {
  const lines = text.split("\n");
  const first = lines.findIndex((line) => !/^\s*(#|$)/.test(line));
  if (!/^\s*(service\s*\{|@(set|include|include_optional)\b)/.test(lines[first] ?? "")) return;
  throw new ConfigError([{
    position: { file, line: first + 1, column: 1 },
    what: "this looks like the syntax of klb.conf, but a file named .toml is read as TOML",
    fix: 'rename it to end in ".conf", or write it in TOML',
  }]);
}

interface Document {
  readonly data: Record<string, unknown>;
  readonly positions: TomlPositions;
  /** Lines whose values were replaced, because they are wrong and reported. */
  readonly brokenLines: ReadonlySet<number>;
}

/** How many lines with wrong syntax are looked for. */
const repairLimit = 20;

/**
 * Parses a document. A TOML parser stops at the first error; where that is clearly confined to one
 * line, the line is replaced, so that what is wrong elsewhere is found too.
 *
 * @throws {ConfigError} when there is an error after which nothing else can be trusted.
 */
function parseRepairing(file: string, text: string, problems: ProblemList): Document {
  const lines = text.split("\n");
  const brokenLines = new Set<number>();
  for (;;) {
    const current = lines.join("\n");
    try {
      return { data: parseTomlText(current), positions: locateToml(current), brokenLines };
    } catch (error) {
      if (!(error instanceof TomlSyntaxError)) throw error;
      const { line, column, what, fix } = explainSyntax(error, lines);
      problems.error({ position: { file, line, column } }, what, fix);
      const repaired = brokenLines.has(line) || brokenLines.size >= repairLimit
        ? undefined
        : repairLine(lines, line);
      if (repaired === undefined) {
        problems.throwIfFailed();
        throw error;
      }
      lines[line - 1] = repaired;
      brokenLines.add(line);
    }
  }
}

const keyPattern = `(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')`;
const statement = new RegExp(
  `^\\s*(${keyPattern}(?:\\s*\\.\\s*${keyPattern})*)\\s*=\\s*(.*?)\\s*$`,
);

/** A line to stand for a broken one, or undefined when more than the line may be broken. */
function repairLine(lines: readonly string[], number: number): string | undefined {
  const [, key, value] = statement.exec(lines[number - 1] ?? "") ?? [];
  if (key === undefined || /^("""|'''|\[[^\]]*$|\{[^}]*$)/.test(value!)) return undefined;
  // A statement starts here only if everything before is whole.
  const before = lines.slice(0, number - 1).join("\n");
  for (const repaired of [`${key} = ""`, ""]) {
    try {
      parseTomlText(`${before}\n${repaired}`);
      return repaired;
    } catch {
      // Set twice: only its absence helps. Or the lines before are broken.
    }
  }
}

interface Explanation {
  readonly line: number;
  readonly column: number;
  readonly what: string;
  readonly fix: string;
}

/** Says what people usually got wrong in such a line, or else what the parser says. */
function explainSyntax(error: TomlSyntaxError, lines: readonly string[]): Explanation {
  const { line, column } = error;
  const say = (what: string, fix: string): Explanation => ({ line, column, what, fix });
  const whole = lines[line - 1] ?? "";
  const text = whole.trim();
  const [, key, value = ""] = statement.exec(text) ?? [];

  if (/comma or end/.test(error.message)) return explainOpenValue(line, column, lines);
  if (/^(;|\/\/|--|\/\*)/.test(text)) {
    return say(`${quote(text)} is no comment here`, 'start comments with "#"');
  }
  if (key === undefined) return { line, column, ...explainNoStatement(text, lines, error) };
  if (/redefine/.test(error.message)) {
    return say(`${quote(key)} is set twice`, "keep one of the two");
  }
  if (value === "" || value.startsWith("#")) {
    return say(`${quote(key)} has no value`, `write ${key} = "..."`);
  }
  const atValue = (what: string, fix: string) => ({
    ...say(what, fix),
    column: whole.indexOf(value, whole.indexOf("=")) + 1,
  });
  if (column > whole.indexOf("=") && !/^["'[{]/.test(value)) {
    // What was meant is most often all that is there, without a comment or other endings.
    const meant = value.replace(/[\s;,]*(#.*|;)?$/, "").replace(/["“”]/g, "");
    return atValue(
      `the value of ${quote(key)} is not in double quotes`,
      `write ${key} = ${quote(meant)}`,
    );
  }
  if (/^"[^"]*$|^'[^']*$/.test(value)) {
    return atValue(
      `the value of ${quote(key)} has no closing ${value[0]}`,
      `end it with ${value[0]} on the same line`,
    );
  }
  if (/end-of-line/.test(error.message)) {
    return say(
      `${quote(whole.slice(column - 1).trim())} follows the value of ${quote(key)}`,
      'remove it, or start a comment with "#"',
    );
  }
  return say(
    `the value of ${quote(key)} is not valid TOML: ${error.message}`,
    `write it like ${key} = "..."`,
  );
}

/** A line that does not start with `key =`. */
function explainNoStatement(
  text: string,
  lines: readonly string[],
  error: TomlSyntaxError,
): Pick<Explanation, "what" | "fix"> {
  const header = /^\[\[?/.exec(text)?.[0];
  if (header !== undefined) {
    if (/redefine/.test(error.message)) {
      const isList = lines.some((line) => line.trim() === `[${text}]`);
      return {
        what: `${quote(text)} is already there above`,
        fix: isList ? `write [${text}] for one more` : "keep one of the two",
      };
    }
    return {
      what: `the header ${quote(text)} is not valid`,
      fix: `write it like ${header}service${header.replaceAll("[", "]")}`,
    };
  }
  const key = /^[A-Za-z0-9_-]+/.exec(text)?.[0];
  if (key !== undefined && !text.includes("=")) {
    return { what: `there is no "=" after ${quote(key)}`, fix: `write ${key} = "..."` };
  }
  return {
    what: `${quote(text)} is not valid TOML: ${error.message}`,
    fix: 'write a line like: bind = "192.0.2.10:80"',
  };
}

/** A list or inline table that is not closed, or in which a comma is missing. */
function explainOpenValue(line: number, column: number, lines: readonly string[]): Explanation {
  const text = (lines[line - 1] ?? "").trim();
  if (text !== "" && !/^\[\[?[^\]"']*\]/.test(text)) {
    const [, key, value] = statement.exec(text) ?? [];
    if (key === undefined || /^[[{]/.test(value!)) {
      return {
        line,
        column,
        what: `there is no comma before ${quote(lines[line - 1]!.slice(column - 1).trim())}`,
        fix: "put commas between the items of a list",
      };
    }
  }
  // The next statement, header, or the end of the file was reached: look back for the opening.
  for (let number = line - 1; number > 0; number--) {
    const [, key, value] = statement.exec(lines[number - 1]!) ?? [];
    if (key === undefined || !/^[[{]/.test(value!)) continue;
    const offset = lines[number - 1]!.indexOf(value!, lines[number - 1]!.indexOf("="));
    return {
      line: number,
      column: offset + 1,
      what: `the value of ${quote(key)} has no closing "${value![0] === "[" ? "]" : "}"}"`,
      fix: "add it after the last item",
    };
  }
  return { line, column, what: "a list is not closed", fix: 'end it with "]"' };
}

/** Sorts the data of a document into known settings with their places. */
class DocumentReader {
  readonly settings = new Map<string, readonly RawValue[]>();
  readonly services: RawService[] = [];
  readonly #file: string;
  readonly #document: Document;
  readonly #problems: ProblemList;

  constructor(file: string, document: Document, problems: ProblemList) {
    this.#file = file;
    this.#document = document;
    this.#problems = problems;
  }

  read(): void {
    for (const [key, value] of Object.entries(this.#document.data)) {
      if (key === "service") this.#services(value);
      else this.#setting(key, value, [key], "top", this.settings);
    }
  }

  #services(value: unknown): void {
    const path = ["service"];
    if (Array.isArray(value) && value.length > 0 && value.every(isTable)) {
      value.forEach((table, i) => this.#service(table, [...path, i]));
      return;
    }
    if (this.#isBroken(path)) return;
    this.#problems.error(
      this.#place(this.#document.positions.key(path)),
      isTable(value)
        ? "there can be several services, but this is a single table"
        : '"service" is not a list of tables',
      "write [[service]] above the settings of each service",
      "service",
    );
    if (isTable(value)) this.#service(value, path);
  }

  #service(table: Record<string, unknown>, path: TomlPath): void {
    const settings = new Map<string, readonly RawValue[]>();
    for (const [key, value] of Object.entries(table)) {
      this.#setting(key, value, [...path, key], "service", settings);
    }
    const place = this.#place(this.#document.positions.value(path));
    this.services.push({ ...place, end: place, complete: true, settings });
  }

  #setting(
    key: string,
    value: unknown,
    path: TomlPath,
    scope: Setting["scope"],
    settings: Map<string, readonly RawValue[]>,
  ): void {
    const row = findSetting(key, scope, "toml");
    if (row) {
      settings.set(row.name, [this.#value(value, path)]);
      return;
    }
    const { what, fix, meant } = explainUnknown(key, scope, "toml");
    this.#problems.error(
      this.#place(this.#document.positions.key(path)),
      what,
      fix,
      path.join("."),
    );
    // Not missing, only misspelt.
    if (meant && !settings.has(meant.name)) {
      settings.set(meant.name, [{ ...this.#value(value, path), value: reported }]);
    }
  }

  #value(value: unknown, path: TomlPath): RawValue {
    const place = this.#place(this.#document.positions.value(path));
    if (this.#isBroken(path)) return { ...place, value: reported };
    return Array.isArray(value)
      ? { ...place, value: value.map((item, i) => this.#value(item, [...path, i])) }
      : { ...place, value };
  }

  #isBroken(path: TomlPath): boolean {
    return this.#document.brokenLines.has(this.#document.positions.value(path).line);
  }

  #place({ line, column }: { line: number; column: number }): Place {
    return { position: { file: this.#file, line, column } };
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    !(value instanceof Date);
}
