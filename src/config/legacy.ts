/**
 * The dialect of the old daemon's klb.conf.
 *
 * Everything the old daemon accepted is accepted with the same meaning, and what it rejected is
 * rejected, except for these, which no valid file can contain:
 *
 * - `bind "[2001:db8::1]:80"`: IPv6 (but not an IPv4 address inside IPv6, nor one with a zone).
 * - `"${a}"`: variables with a name of one letter inside double quotes.
 * - `drain_timeout` in a service, and `zeroconf_max_ttl` beside them.
 *
 * The other way round, a port above 65535 (which wrapped around), the same bind twice and an unknown
 * scheduler (which failed later) are rejected here.
 *
 * @module
 */
import {
  ConfigFileError,
  type ConfigFiles,
  directoryOf,
  normalizePath,
  resolveFrom,
} from "./files.ts";
import { matchesGlob } from "./glob.ts";
import { formatPosition, type Place, ProblemList, quote, type SourcePosition } from "./problem.ts";
import { type Config, ConfigError, explainUnknown, findSetting } from "./schema.ts";
import { type RawService, type RawValue, reported, validate } from "./validate.ts";
import type { PortLookup } from "./values.ts";
import { nearest } from "../suggest.ts";

/** Longest line in bytes; the old daemon had a limit too. */
const lineLimit = 16_384;

/** How deep includes nest, and how many there are, before something must be wrong. */
const includeDepthLimit = 32;
const includeCountLimit = 1000;

/**
 * Reads a config in the legacy dialect, with everything it includes.
 *
 * @throws {ConfigError} with every problem, when there is any.
 */
export function parseLegacy(
  file: string,
  bytes: Uint8Array,
  files: ConfigFiles,
  lookUpPort: PortLookup,
): Config {
  refuseToml(file, bytes);
  const problems = new ProblemList();
  const parser = new LegacyParser(files, problems);
  parser.readFile(file, bytes);
  parser.end();
  return validate(
    { file, dialect: "legacy", settings: parser.settings, services: parser.services },
    lookUpPort,
    problems,
  );
}

/** A whole TOML file under a legacy name would give an error a line: say the one thing that helps. */
function refuseToml(file: string, bytes: Uint8Array): void {
  for (const { number, text } of splitLines(bytes)) {
    if (/^\s*(#|$)/.test(text)) continue;
    if (!/^\s*(\[|[A-Za-z0-9_-]+\s*=)/.test(text)) return;
    throw new ConfigError([{
      position: { file, line: number, column: 1 },
      what: "this looks like TOML, but only a file named .toml is read as TOML",
      fix: "rename it, or write it in the syntax of klb.conf",
    }]);
  }
}

/** A service block that is open. */
interface Block {
  readonly place: Place;
  readonly settings: Map<string, RawValue[]>;
  complete: boolean;
}

/** A statement with its white space trimmed. */
class Line {
  readonly #parser: LegacyParser;
  readonly #number: number;
  /** The line up to where it ends; read from {@link index} on. */
  readonly text: string;
  index: number;

  constructor(parser: LegacyParser, number: number, text: string) {
    this.#parser = parser;
    this.#number = number;
    let end = text.length;
    while (end > 0 && isSpace(text, end - 1)) end--;
    this.text = text.slice(0, end);
    this.index = 0;
    this.skipSpace();
  }

  /** What is not read yet. */
  get rest(): string {
    return this.text.slice(this.index);
  }

  get atEnd(): boolean {
    return this.index >= this.text.length;
  }

  /** Where `index`, or another index, is. */
  place(index = this.index): Place {
    return this.#parser.place(this.#number, index + 1);
  }

  /** Moves over white space; tells whether there was any. */
  skipSpace(): boolean {
    const start = this.index;
    while (this.index < this.text.length && isSpace(this.text, this.index)) this.index++;
    return this.index > start;
  }

  /** Reads `[A-Za-z0-9_]+`; empty when there is none. */
  word(): string {
    const word = /^\w*/.exec(this.rest)![0];
    this.index += word.length;
    return word;
  }
}

class LegacyParser {
  readonly settings = new Map<string, RawValue[]>();
  readonly services: RawService[] = [];
  readonly #files: ConfigFiles;
  readonly #problems: ProblemList;
  /** Values by name; undefined: the definition was already reported as wrong. */
  readonly #variables = new Map<string, string | undefined>();
  #block: Block | undefined;
  /** An unknown block, of which only the end matters: its lines are not looked at. */
  #skipped: { readonly place: Place; depth: number } | undefined;
  /** True after `service` without `{`, which may stand on the next line. */
  #braceMayFollow = false;
  /** The file being read, and those that include it, outermost first. */
  readonly #openFiles: string[] = [];
  /** The `@include` lines that lead to the file being read. */
  #includedFrom: readonly SourcePosition[] = [];
  #includeCount = 0;
  /** True once a directive failed: what it would have defined is not called unknown. */
  #directiveFailed = false;

  constructor(files: ConfigFiles, problems: ProblemList) {
    this.#files = files;
    this.#problems = problems;
  }

  /** A place in the file being read. */
  place(line: number, column: number): Place {
    const position = { file: this.#openFiles.at(-1)!, line, column };
    return this.#includedFrom.length > 0
      ? { position, includedFrom: this.#includedFrom }
      : { position };
  }

  readFile(file: string, bytes: Uint8Array): void {
    this.#openFiles.push(file);
    for (const { number, text, length, validUtf8, byteOrderMark } of splitLines(bytes)) {
      if (this.#problems.full) break;
      if (byteOrderMark) {
        this.#problems.error(
          this.place(1, 1),
          "the file starts with a byte order mark",
          "save it as UTF-8 without one (BOM)",
        );
      }
      if (length > lineLimit) {
        this.#problems.error(
          this.place(number, 1),
          `the line is ${length} bytes long`,
          `shorten it to at most ${lineLimit}`,
        );
        continue;
      }
      const line = new Line(this, number, text);
      if (line.atEnd || line.rest.startsWith("#")) continue;
      if (!validUtf8) {
        this.#problems.warn(
          line.place(),
          "the line is not valid UTF-8, so a part of it cannot be understood",
          "save the file as UTF-8",
        );
      }
      this.#statement(line);
    }
    this.#openFiles.pop();
  }

  /** To be called once after the main file. */
  end(): void {
    const open = this.#skipped ?? this.#block;
    if (!open) return;
    this.#problems.error(
      open.place,
      "the block is never closed",
      'add a line "}" after its last option',
    );
  }

  #statement(line: Line): void {
    if (this.#skipped) return this.#skip(line, this.#skipped);
    const braceMayFollow = this.#braceMayFollow;
    this.#braceMayFollow = false;
    // The missing brace was reported where the block was opened.
    if (braceMayFollow && line.rest === "{") return;
    if (line.rest.startsWith("@")) return this.#directive(line);
    if (line.rest.startsWith("}")) return this.#closeBlock(line);
    const start = line.place();
    const word = line.word();
    const spaced = line.skipSpace();
    if (word === "") return this.#explainNoWord(line);
    if (word === "service" || line.rest.endsWith("{") && !isOption(word)) {
      return this.#openBlock(line, start, word, spaced);
    }
    this.#option(line, start, word, spaced);
  }

  #skip(line: Line, block: { depth: number }): void {
    if (line.rest.endsWith("{")) block.depth++;
    if (line.rest.startsWith("}")) block.depth--;
    if (block.depth === 0) this.#skipped = undefined;
  }

  #explainNoWord(line: Line): void {
    const comment = /^(;|\/\/|\/\*|--)/.test(line.rest);
    this.#problems.error(
      line.place(),
      comment
        ? `${quote(line.rest)} is no comment here`
        : `the line starts with ${quote(firstCharacter(line.rest))}, where an option should be`,
      comment ? 'start comments with "#"' : `write a line like: bind "192.0.2.10:80"`,
    );
  }

  #openBlock(line: Line, start: Place, word: string, spaced: boolean): void {
    const { rest } = line;
    // A block that ends on its own line leaves nothing open.
    const endsHere = rest.startsWith("{") && rest.endsWith("}");
    let complete = true;
    if (word !== "service") {
      const meant = nearest(word.toLowerCase(), ["service"]);
      this.#problems.error(
        start,
        `unknown block ${quote(word)}`,
        meant ? `did you mean ${quote(meant)}?` : 'the only block is "service {"',
      );
      if (!meant) {
        if (!endsHere) this.#skipped = { place: start, depth: 1 };
        return;
      }
    } else if (rest !== "{" || !spaced) {
      const [what, fix] = rest === ""
        ? ['"service" has no "{" on its line', 'write "service {"']
        : rest === "{"
        ? ['there is no white space between "service" and "{"', 'write "service {"']
        : rest.startsWith("{")
        ? ['something follows "{"', 'write "service {", each option and "}" on lines of their own']
        : [`${quote(rest)} follows "service", which takes no value`, 'write "service {"'];
      this.#problems.error(start, what!, fix!);
      this.#braceMayFollow = !rest.endsWith("{");
      complete = !rest.startsWith("{") || rest === "{";
    }
    if (this.#block) {
      this.#problems.error(
        start,
        `a service block starts inside the one at ${formatPosition(this.#block.place.position)}`,
        'close that one with a line "}" first',
      );
      this.#block.complete = false;
      this.#finishBlock(start);
    }
    if (!endsHere) this.#block = { place: start, settings: new Map(), complete };
  }

  #closeBlock(line: Line): void {
    if (line.rest !== "}") {
      this.#problems.error(
        line.place(line.index + 1),
        `${quote(line.rest.slice(1).trim())} follows "}"`,
        'leave "}" alone on its line, comments take a line of their own',
      );
    }
    if (this.#block) return this.#finishBlock(line.place());
    // What is missing may have opened a block.
    if (this.#directiveFailed) return;
    this.#problems.error(
      line.place(),
      '"}" closes nothing',
      'remove it, or open a block with "service {" before it',
    );
  }

  #finishBlock(end: Place): void {
    const block = this.#block;
    this.#block = undefined;
    if (!block) return;
    this.services.push({ ...block.place, end, settings: block.settings, complete: block.complete });
  }

  #option(line: Line, start: Place, word: string, spaced: boolean): void {
    const scope = this.#block ? "service" : "top";
    const given = this.#block?.settings ?? this.settings;
    const row = findSetting(word, scope, "legacy");
    if (!row) {
      const { what, fix, meant } = explainUnknown(word, scope, "legacy");
      this.#problems.error(start, what, fix);
      // Not missing, only misspelt.
      if (meant && !given.has(meant.name)) given.set(meant.name, [{ ...start, value: reported }]);
      return;
    }
    const valuePlace = line.place();
    const usage = `write ${word} "${row.example}"`;
    const value = this.#optionValue(line, word, spaced, usage) ?? reported;
    const values = given.get(row.name) ?? [];
    values.push({ ...valuePlace, value });
    given.set(row.name, values);
    if (row.once && values.length > 1) {
      this.#problems.error(
        start,
        `${quote(word)} is set twice, first at ${formatPosition(values[0]!.position)}`,
        "keep one of the two lines",
      );
    }
  }

  #optionValue(line: Line, word: string, spaced: boolean, usage: string): string | undefined {
    if (line.atEnd) {
      return this.#problems.error(line.place(), `${quote(word)} has no value`, usage);
    }
    if (line.rest.startsWith("=")) {
      return this.#problems.error(
        line.place(),
        `there is a "=" between ${quote(word)} and its value`,
        usage,
      );
    }
    if (!spaced) {
      return this.#problems.error(
        line.place(),
        `there is no white space between ${quote(word)} and its value`,
        usage,
      );
    }
    const value = this.#value(line, { escapes: false, variables: true });
    return value !== undefined && this.#expectEnd(line, "the value") ? value : undefined;
  }

  /** Reads a value: quoted, a variable, or (where there are no escapes) bare. */
  #value(line: Line, syntax: { escapes: boolean; variables: boolean }): string | undefined {
    const quoteMark = line.rest[0];
    if (quoteMark === '"' || quoteMark === "'") {
      return this.#quoted(line, quoteMark, syntax.escapes, syntax.variables && quoteMark === '"');
    }
    if (syntax.variables && line.rest.startsWith("${")) {
      const value = this.#variable(line);
      if (value === undefined || line.atEnd || isSpace(line.text, line.index)) return value;
      return this.#problems.error(
        line.place(),
        `${quote(line.rest)} follows a variable directly`,
        "put the whole value in double quotes",
      );
    }
    const [bare] = /^[\w.:-]*/.exec(line.rest)!;
    if (syntax.escapes) {
      return this.#problems.error(
        line.place(),
        `the ${syntax.variables ? "value" : "path"} is not in quotes`,
        `write ${quote(line.rest.replace(/\s.*|"/gs, ""))}`,
      );
    }
    const start = line.place();
    line.index += bare.length;
    if (line.atEnd || bare !== "" && isSpace(line.text, line.index)) return bare;
    const next = firstCharacter(line.rest);
    return this.#problems.error(
      start,
      `${quote(next)} cannot be in a value without quotes`,
      next === "$" ? "write a variable as ${name}" : "put the value in double quotes",
    );
  }

  #quoted(
    line: Line,
    quoteMark: string,
    escapes: boolean,
    variables: boolean,
  ): string | undefined {
    const start = line.place();
    let value = "";
    let expanded = false;
    line.index++;
    for (;;) {
      const character = line.text[line.index];
      if (character === undefined) {
        return this.#problems.error(
          start,
          `the closing ${quoteMark} is missing`,
          `end the value with ${quoteMark} on the same line`,
        );
      }
      if (character === quoteMark) {
        line.index++;
        return value;
      }
      if (escapes && character === "\\") {
        const meaning = escapeMeanings[line.text[line.index + 1] ?? ""];
        if (meaning === undefined) {
          return this.#problems.error(
            line.place(),
            `${quote(line.text.slice(line.index, line.index + 2))} is no escape`,
            "write \\\\ for a backslash, the others are \\\" \\' \\n and \\r",
          );
        }
        value += meaning;
        line.index += 2;
      } else if (variables && line.rest.startsWith("${")) {
        const inserted = this.#variable(line);
        if (inserted === undefined) return undefined;
        value += inserted;
        expanded = true;
      } else if (expanded && character === "$" && line.text[line.index + 1] === quoteMark) {
        return this.#problems.error(
          line.place(),
          'a "$" ends a value that has a variable in it',
          'put the "$" into a variable, with @set name = "$", and write ${name}',
        );
      } else {
        value += character;
        line.index++;
      }
    }
  }

  /** Reads `${name}`. Undefined after an error, also one that was reported at the definition. */
  #variable(line: Line): string | undefined {
    const start = line.place();
    line.index += 2;
    const name = line.word();
    if (name === "" || line.text[line.index] !== "}") {
      return this.#problems.error(
        start,
        name === "" ? '"${" is not followed by a name' : `"\${${name}" is not followed by "}"`,
        'write a variable as ${name}, with a name of letters, digits and "_"',
      );
    }
    line.index++;
    const value = this.#variables.get(name);
    if (value === undefined) {
      if (this.#variables.has(name) || this.#directiveFailed) return undefined;
      const near = nearest(name, [...this.#variables.keys()]);
      return this.#problems.error(
        start,
        `the variable ${quote(name)} is not set`,
        near ? `did you mean \${${near}}?` : `set it above with: @set ${name} = "..."`,
      );
    }
    if (value.includes('"')) {
      return this.#problems.error(
        start,
        `the variable ${quote(name)} has a double quote in it, which cannot be inserted`,
        "write the value here in single quotes",
      );
    }
    return value;
  }

  #expectEnd(line: Line, after: string): boolean {
    const escaped = line.text[line.index - 2] === "\\";
    const spaced = line.skipSpace();
    if (line.atEnd) return true;
    const { rest } = line;
    const fix = rest.startsWith("#")
      ? "move the comment to a line of its own"
      : escaped
      ? "there are no escapes here: put a value with double quotes in it into single quotes"
      : "remove it";
    this.#problems.error(
      line.place(),
      `${quote(rest)} follows ${after}${spaced ? "" : " directly"}`,
      fix,
    );
    return false;
  }

  #directive(line: Line): void {
    const start = line.place();
    line.index++;
    const word = line.word();
    const spaced = line.skipSpace();
    switch (word) {
      case "set":
        return this.#set(line, spaced);
      case "include":
      case "include_optional":
        return this.#include(line, word, spaced);
    }
    const known = ["set", "include", "include_optional"];
    const near = nearest(word.toLowerCase(), known);
    this.#problems.error(
      start,
      `unknown directive "@${word}"`,
      near ? `did you mean "@${near}"?` : `directives are @${known.join(", @")}`,
    );
  }

  #set(line: Line, spaced: boolean): void {
    const usage = 'write @set name = "value"';
    const start = line.place();
    const name = spaced ? line.word() : "";
    line.skipSpace();
    if (name === "" || line.text[line.index] !== "=") {
      this.#directiveFailed = true;
      const what = name === ""
        ? "@set has no variable name"
        : line.atEnd || /^["'$]/.test(line.rest)
        ? `there is no "=" after ${quote(name)}`
        : `${quote(line.rest[0]!)} cannot be in a variable name`;
      this.#problems.error(name === "" ? start : line.place(), what, usage);
      return;
    }
    line.index++;
    line.skipSpace();
    // Until its value is known to be good.
    this.#variables.set(name, undefined);
    if (line.atEnd) {
      this.#problems.error(line.place(), `the variable ${quote(name)} has no value`, usage);
      return;
    }
    const value = this.#value(line, { escapes: true, variables: true });
    if (value !== undefined && this.#expectEnd(line, "the value")) {
      this.#variables.set(name, value);
    }
  }

  #include(line: Line, word: string, spaced: boolean): void {
    const place = line.place();
    if (line.atEnd || !spaced) {
      this.#problems.error(
        place,
        line.atEnd ? `@${word} has no path` : `there is no white space after @${word}`,
        `write @${word} "file.conf"`,
      );
      this.#directiveFailed = true;
      return;
    }
    const path = this.#value(line, { escapes: true, variables: false });
    if (path === undefined || !this.#expectEnd(line, "the path")) {
      this.#directiveFailed = true;
      return;
    }
    if (path === "") {
      this.#problems.error(place, "the path is empty", `write @${word} "file.conf"`);
      this.#directiveFailed = true;
      return;
    }
    const optional = word === "include_optional";
    const resolved = resolveFrom(place.position.file, path);
    const pattern = resolved.slice(directoryOf(resolved).length);
    // Brackets alone do not make a pattern: the old daemon took them literally then.
    if (!/[*?]/.test(pattern)) return this.#includeFile(resolved, path, place, optional);
    if (optional) {
      this.#problems.warn(
        place,
        `@include_optional takes ${quote(path)} literally, so it includes nothing`,
        "use @include, which may match no file",
      );
      return this.#includeFile(resolved, path, place, optional);
    }
    const directory = directoryOf(resolved);
    try {
      const names = this.#files.list(directory || ".").filter((name) => matchesGlob(pattern, name));
      for (const name of names.sort()) {
        this.#includeFile(directory + name, directoryOf(path) + name, place, false);
      }
    } catch (error) {
      this.#explainUnreadable(error, path, place);
    }
  }

  #includeFile(path: string, written: string, place: Place, optional: boolean): void {
    if (this.#problems.full) return;
    const normalized = normalizePath(path);
    const open = this.#openFiles.map(normalizePath);
    const from = open.indexOf(normalized);
    if (from >= 0) {
      this.#problems.error(
        place,
        `${quote(written)} includes itself: ${[...open.slice(from), normalized].join(" -> ")}`,
        "remove one of these includes",
      );
      return;
    }
    if (open.length > includeDepthLimit) {
      this.#problems.error(
        place,
        `includes are nested more than ${includeDepthLimit} deep`,
        "include the files from fewer levels",
      );
      return;
    }
    if (++this.#includeCount > includeCountLimit) {
      if (this.#includeCount > includeCountLimit + 1) return;
      this.#problems.error(
        place,
        `more than ${includeCountLimit} files are included`,
        "does a file include others over and over?",
      );
      return;
    }
    let bytes: Uint8Array;
    try {
      bytes = this.#files.read(path);
    } catch (error) {
      if (optional && error instanceof ConfigFileError && error.missing) return;
      return this.#explainUnreadable(error, written, place);
    }
    const outer = this.#includedFrom;
    this.#includedFrom = [...outer, place.position];
    this.readFile(path, bytes);
    this.#includedFrom = outer;
  }

  #explainUnreadable(error: unknown, path: string, place: Place): void {
    if (!(error instanceof ConfigFileError)) throw error;
    this.#directiveFailed = true;
    this.#problems.error(
      place,
      `cannot include ${quote(path)}: ${error.message}`,
      path.includes("${")
        ? "write the path itself: variables are not expanded in paths"
        : /[*?].*\//.test(path)
        ? 'write "*" and "?" only after the last slash'
        : error.missing && !/[*?]/.test(path)
        ? "correct the path, or use @include_optional if the file may be missing"
        : error.fix,
    );
  }
}

const escapeMeanings: Readonly<Record<string, string>> = {
  r: "\r",
  n: "\n",
  "\\": "\\",
  "'": "'",
  '"': '"',
};

function isOption(word: string): boolean {
  return findSetting(word, "service", "legacy") !== undefined ||
    findSetting(word, "top", "legacy") !== undefined;
}

/** White space is what the old daemon took for it: every byte from 0x01 to 0x20. */
function isSpace(text: string, index: number): boolean {
  return text.charCodeAt(index) <= 0x20;
}

function firstCharacter(text: string): string {
  return String.fromCodePoint(text.codePointAt(0)!);
}

interface RawLine {
  readonly number: number;
  /** Up to the first NUL, where the old daemon's lines end. */
  readonly text: string;
  /** In bytes, as it is in the file. */
  readonly length: number;
  readonly validUtf8: boolean;
  /** True where the file starts with one; it is no part of the text. */
  readonly byteOrderMark: boolean;
}

function* splitLines(bytes: Uint8Array): Generator<RawLine> {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const lossy = new TextDecoder("utf-8", { ignoreBOM: true });
  const byteOrderMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  let start = byteOrderMark ? 3 : 0;
  for (let number = 1; start < bytes.length; number++) {
    const newline = bytes.indexOf(0x0a, start);
    const line = bytes.subarray(start, newline < 0 ? bytes.length : newline);
    const nul = line.indexOf(0);
    const used = nul < 0 ? line : line.subarray(0, nul);
    let text: string;
    let validUtf8 = true;
    try {
      text = strict.decode(used);
    } catch {
      text = lossy.decode(used);
      validUtf8 = false;
    }
    yield {
      number,
      text,
      length: line.length,
      validUtf8,
      byteOrderMark: byteOrderMark && number === 1,
    };
    start += line.length + 1;
  }
}
