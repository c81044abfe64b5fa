/**
 * A file system in memory for the parsers.
 *
 * @module
 */
import { ConfigFileError, type ConfigFiles, normalizePath } from "../../../src/config/files.ts";

/** Files by path, all relative to one directory; a name with a final slash is an empty directory. */
export function memoryFiles(contents: Readonly<Record<string, string>>): ConfigFiles {
  const paths = Object.keys(contents);
  return {
    read(written: string): Uint8Array {
      const path = normalizePath(written);
      const content = contents[path];
      if (content !== undefined) return new TextEncoder().encode(content);
      if (paths.some((other) => other.startsWith(`${path}/`))) {
        throw new ConfigFileError("it is a directory", "name a file in it");
      }
      throw new ConfigFileError("there is no such file", "correct the path", true);
    },
    list(directory: string): readonly string[] {
      const prefix = directory === "." ? "" : directory.replace(/\/?$/, "/");
      const inside = paths.filter((path) => path.startsWith(prefix));
      if (inside.length === 0) {
        throw new ConfigFileError("there is no such directory", "correct the path", true);
      }
      const names = inside.map((path) => path.slice(prefix.length).split("/")[0]!);
      return [...new Set(names)].filter((name) => name !== "");
    },
  };
}
