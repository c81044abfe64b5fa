/**
 * What the parsers need of a file system.
 *
 * @module
 */

/** Why a file or directory cannot be read, in the words of a config problem. */
export class ConfigFileError extends Error {
  override readonly name = "ConfigFileError";
  /** True when the file, or a directory on the way to it, does not exist. */
  readonly missing: boolean;
  /** What would be right. */
  readonly fix: string;

  constructor(what: string, fix: string, missing = false) {
    super(what);
    this.missing = missing;
    this.fix = fix;
  }
}

/** Read access to files, by paths as they are written or joined. */
export interface ConfigFiles {
  /**
   * The whole content of a file.
   *
   * @throws {ConfigFileError} when it cannot be read, or is too large for a config.
   */
  read(path: string): Uint8Array;
  /**
   * The names in a directory, in any order, without "." and "..".
   *
   * @throws {ConfigFileError} when it cannot be read.
   */
  list(directory: string): readonly string[];
}

/** The directory of a path, with its final slash; empty for the working directory. */
export function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}

/** A path as it is meant by a file: absolute, or relative to the directory of that file. */
export function resolveFrom(file: string, path: string): string {
  return path.startsWith("/") ? path : directoryOf(file) + path;
}

/** The path without what changes nothing (`./`, `x/../`, `//`), to tell whether two are the same. */
export function normalizePath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === ".." && parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (part !== ".." || !path.startsWith("/")) parts.push(part);
  }
  return (path.startsWith("/") ? "/" : "") + parts.join("/");
}
