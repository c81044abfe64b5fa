/**
 * Where the keys and values of a TOML document are written: parsers do not say.
 *
 * @module
 */

/** A line and column, from 1; columns count UTF-16 code units. */
export interface TextPosition {
  readonly line: number;
  readonly column: number;
}

/** Names of tables and keys, and indices of lists, from the top down. */
export type TomlPath = readonly (string | number)[];

/** Positions by path. What is not found is placed at the nearest thing around it. */
export interface TomlPositions {
  /** Where a key, or the header of a table, starts. */
  key(path: TomlPath): TextPosition;
  /** Where a value starts; for a table with a header, the header. */
  value(path: TomlPath): TextPosition;
}

/**
 * Finds every key and value of a document. The text must be valid TOML; for any other the result is
 * some positions, never an exception.
 */
export function locateToml(text: string): TomlPositions {
  const root = new Scanner(text).document();
  const lines = lineStarts(text);
  const find = (path: TomlPath): Node => {
    let node = root;
    for (const step of path) {
      const child = node.children.get(String(step));
      if (!child) break;
      node = child;
    }
    return node;
  };
  return {
    key: (path) => positionAt(lines, find(path).key),
    value: (path) => positionAt(lines, find(path).value),
  };
}

function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) starts.push(i + 1);
  return starts;
}

function positionAt(lines: readonly number[], offset: number): TextPosition {
  let [low, high] = [0, lines.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (lines[middle]! <= offset) low = middle;
    else high = middle;
  }
  return { line: low + 1, column: offset - lines[low]! + 1 };
}

/** A table, list or value. Offsets into the text. */
interface Node {
  key: number;
  value: number;
  /** By key or index. */
  readonly children: Map<string, Node>;
  /** True for what `[[header]]` makes: further headers continue in its last element. */
  isTableArray: boolean;
}

function node(key: number, value = key): Node {
  return { key, value, children: new Map(), isTableArray: false };
}

class Scanner {
  readonly #text: string;
  #index = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Node {
    const root = node(0);
    let table = root;
    for (;;) {
      this.#blank();
      const start = this.#index;
      if (start >= this.#text.length) return root;
      const header = this.#skip(/\[\[?/y);
      if (header !== "") {
        table = root;
        for (const { name } of this.#key()) table = this.#descend(table, name, start);
        if (header === "[[") {
          table.isTableArray = true;
          table = this.#child(table, String(table.children.size), start);
        } else {
          [table.key, table.value] = [start, start];
        }
      } else {
        this.#assignment(table);
      }
      // Comments, closing brackets, and whatever is not valid: the next line is a new statement.
      this.#skip(/.*/y);
    }
  }

  /** `key = value` in a table. */
  #assignment(table: Node): void {
    let target = table;
    for (const { name, offset } of this.#key()) target = this.#descend(target, name, offset);
    this.#skip(/[ \t]*=[ \t]*/y);
    this.#value(target);
  }

  #value(target: Node): void {
    target.value = this.#index;
    if (this.#skip(/\[/y) !== "") return this.#items("]", target);
    if (this.#skip(/\{/y) !== "") return this.#items("}", target);
    this.#string() || this.#skip(/[^,\]}#\n]+/y);
  }

  /** What stands between brackets, and the closing one. */
  #items(close: "]" | "}", target: Node): void {
    for (let i = 0;; i++) {
      this.#blank();
      if (this.#index >= this.#text.length) return;
      const start = this.#index;
      if (this.#text[start] === close) {
        this.#index++;
        return;
      }
      if (close === "}") this.#assignment(target);
      else this.#value(this.#child(target, String(i), start));
      // Not valid TOML: give up on this value.
      if (this.#index === start) return;
    }
  }

  /** The parts of a dotted key. */
  #key(): { readonly name: string; readonly offset: number }[] {
    const parts = [];
    do {
      this.#skip(/[ \t]*/y);
      const offset = this.#index;
      const written = this.#string() || this.#skip(/[A-Za-z0-9_-]+/y);
      parts.push({ name: unquote(written), offset });
    } while (this.#skip(/[ \t]*\./y) !== "");
    return parts;
  }

  /** The table of this name in another, or in the last element of it if it is a list of tables. */
  #descend(table: Node, name: string, offset: number): Node {
    const last = table.isTableArray && table.children.get(String(table.children.size - 1));
    return this.#child(last || table, name, offset);
  }

  #child(parent: Node, name: string, offset: number): Node {
    let child = parent.children.get(name);
    if (!child) {
      child = node(offset);
      parent.children.set(name, child);
    }
    return child;
  }

  /** Moves over a string of any kind, and returns it as written; empty when there is none. */
  #string(): string {
    const start = this.#index;
    const open = this.#skip(/"""|'''|"|'/y);
    if (open === "") return "";
    for (;;) {
      const plain = open.startsWith("'") ? /[^']*/y : /[^"\\]*/y;
      this.#skip(plain);
      if (this.#text.startsWith(open, this.#index)) {
        // A long string may end in up to two quotes of its own.
        this.#skip(open.length === 1 ? /./y : open === '"""' ? /"{3,5}/y : /'{3,5}/y);
        break;
      }
      if (this.#index >= this.#text.length) break;
      this.#index += this.#text[this.#index] === "\\" ? 2 : 1;
    }
    return this.#text.slice(start, this.#index);
  }

  /** Moves over white space, comments, and the commas between items. */
  #blank(): void {
    do this.#skip(/[\s,]*/y); while (this.#skip(/#.*/y) !== "");
  }

  /** Moves over what a sticky pattern matches, and returns it. */
  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#index;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#index += found.length;
    return found;
  }
}

function unquote(written: string): string {
  if (written.startsWith("'")) return written.slice(1, -1);
  if (!written.startsWith('"')) return written;
  return written.slice(1, -1).replace(
    /\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))/g,
    (_, four, eight, two, letter) => {
      if (letter !== undefined) return shortEscapes[letter] ?? letter;
      const code = parseInt(four ?? eight ?? two, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : "";
    },
  );
}

const shortEscapes: Readonly<Record<string, string>> = {
  b: "\b",
  t: "\t",
  n: "\n",
  f: "\f",
  r: "\r",
  e: "\x1b",
};
