/**
 * File name patterns, as fnmatch(3) without flags: `*`, `?`, `[a-z]`, `[!a-z]`; dot files match.
 *
 * @module
 */

/** Whether a name matches a pattern. Takes at most the product of both lengths. */
export function matchesGlob(pattern: string, name: string): boolean {
  const tokens = parseGlob(pattern);
  const characters = [...name];
  // Only the latest star is ever worth going back to: what an earlier one could swallow, it can too.
  let star = -1;
  let resume = 0;
  let t = 0;
  let c = 0;
  while (c < characters.length) {
    const token = tokens[t];
    if (token === "star") {
      star = t++;
      resume = c;
    } else if (token?.(characters[c]!)) {
      t++;
      c++;
    } else if (star >= 0) {
      t = star + 1;
      c = ++resume;
    } else {
      return false;
    }
  }
  while (tokens[t] === "star") t++;
  return t === tokens.length;
}

type Token = "star" | ((character: string) => boolean);

function parseGlob(pattern: string): Token[] {
  const characters = [...pattern];
  const tokens: Token[] = [];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i]!;
    if (character === "*") {
      tokens.push("star");
    } else if (character === "?") {
      tokens.push(() => true);
    } else if (character === "[" && classEnd(characters, i) > 0) {
      const end = classEnd(characters, i);
      tokens.push(parseClass(characters.slice(i + 1, end)));
      i = end;
    } else {
      tokens.push((other) => other === character);
    }
  }
  return tokens;
}

/** Index of the bracket that ends a class, or -1: then its opening bracket stands for itself. */
function classEnd(characters: readonly string[], start: number): number {
  const negated = characters[start + 1] === "!" || characters[start + 1] === "^";
  // A bracket directly after the start belongs to the class.
  return characters.indexOf("]", start + (negated ? 3 : 2));
}

function parseClass(characters: string[]): (character: string) => boolean {
  const negated = characters[0] === "!" || characters[0] === "^";
  if (negated) characters.shift();
  const ranges: (readonly [string, string])[] = [];
  for (let i = 0; i < characters.length; i++) {
    const first = characters[i]!;
    if (characters[i + 1] === "-" && i + 2 < characters.length) {
      ranges.push([first, characters[i + 2]!]);
      i += 2;
    } else {
      ranges.push([first, first]);
    }
  }
  return (character) =>
    ranges.some(([low, high]) => low <= character && character <= high) !== negated;
}
