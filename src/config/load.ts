/**
 * Finds the config, reads it from disk, and hands it to the parser of its dialect. [shell]
 *
 * @module
 */
import { ConfigFileError, type ConfigFiles } from "./files.ts";
import { parseLegacy } from "./legacy.ts";
import { lookUpWellKnownPort, parsePortNames } from "./port_names.ts";
import { type Config, ConfigError } from "./schema.ts";
import { parseToml } from "./toml.ts";
import type { PortLookup } from "./values.ts";

/** Where the config is, unless told otherwise: the first that exists. */
export const defaultConfigFiles: readonly string[] = [
  "/etc/klb/klb.toml",
  "/etc/cm4all/klb/klb.conf",
];

/** Largest config file in bytes; more is surely no config. */
const sizeLimit = 1 << 20;

/**
 * Loads and checks a config. A file named `.toml` is TOML, any other is the legacy dialect.
 *
 * @param file the config; without it, the first of `candidates` that exists.
 * @throws {ConfigError} with every problem, also when there is no file or it cannot be read.
 */
export function loadConfig(
  file?: string,
  candidates: readonly string[] = defaultConfigFiles,
): Config {
  const path = file ?? findConfig(candidates);
  const bytes = readMainFile(path);
  const lookUpPort = portNames();
  return path.endsWith(".toml")
    ? parseToml(path, bytes, lookUpPort)
    : parseLegacy(path, bytes, diskFiles, lookUpPort);
}

/** Files as the running process sees them. */
export const diskFiles: ConfigFiles = {
  read(path: string): Uint8Array {
    return explaining("file", () => {
      const { isDirectory, isFile } = Deno.statSync(path);
      if (isDirectory) throw new ConfigFileError("it is a directory", "name a file in it");
      // Opening a pipe could wait for ever.
      if (!isFile) throw new ConfigFileError("it is not a regular file", "name a regular file");
      using file = Deno.openSync(path);
      // One more than allowed tells whether there is more, also where the size is not known (proc).
      const buffer = new Uint8Array(sizeLimit + 1);
      let length = 0;
      for (;;) {
        const count = file.readSync(buffer.subarray(length));
        // Null at the end of the file; 0 once the buffer is full.
        if (!count) break;
        length += count;
      }
      if (length > sizeLimit) {
        throw new ConfigFileError("it is larger than 1 MiB", "is this really a config?");
      }
      return buffer.slice(0, length);
    });
  },
  list(directory: string): readonly string[] {
    return explaining("directory", () => {
      return Array.from(Deno.readDirSync(directory), ({ name }) => name);
    });
  },
};

function findConfig(candidates: readonly string[]): string {
  for (const candidate of candidates) {
    try {
      Deno.statSync(candidate);
      return candidate;
    } catch (error) {
      // One that exists but cannot be seen is found, so that reading it says why.
      if (!(error instanceof Deno.errors.NotFound)) return candidate;
    }
  }
  throw new ConfigError([{
    position: { file: candidates[0]!, line: 1, column: 1 },
    what: `there is no config: none of ${candidates.join(", ")} exists`,
    fix: "create one of them, or name another with --config FILE",
  }]);
}

function readMainFile(path: string): Uint8Array {
  try {
    return diskFiles.read(path);
  } catch (error) {
    if (!(error instanceof ConfigFileError)) throw error;
    throw new ConfigError([{
      position: { file: path, line: 1, column: 1 },
      what: `cannot read the config: ${error.message}`,
      fix: error.fix,
    }]);
  }
}

/** Runs a file operation, turning what the system says into a {@link ConfigFileError}. */
function explaining<T>(noun: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    if (error instanceof ConfigFileError || !(error instanceof Error)) throw error;
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      throw new ConfigFileError(
        `there is no such ${noun}`,
        `create the ${noun}, or correct the path`,
        true,
      );
    }
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
      throw new ConfigFileError("it may not be read", "run as root, or give read permission");
    }
    throw new ConfigFileError(error.message, "see whether the path is right");
  }
}

/** /etc/services is read once, and only when a config has a port name in it. */
function portNames(): PortLookup {
  let lookUp: PortLookup | undefined;
  return (name) => {
    try {
      lookUp ??= parsePortNames(Deno.readTextFileSync("/etc/services"));
    } catch {
      lookUp = lookUpWellKnownPort;
    }
    return lookUp(name);
  };
}
