/**
 * Logging. The only importer of the logging library, so that another can take its place by changing
 * this file. [shell]
 *
 * @module
 */
import { configure, getConsoleSink, getLogger, type LogRecord, type Sink } from "@logtape/logtape";
import { printable } from "./printable.ts";

/** Levels a person may ask for. */
export type LogLevel = "debug" | "info" | "warning" | "error";

/** A voice in the log: what it says carries its category. */
export interface Log {
  debug(text: string): void;
  info(text: string): void;
  warning(text: string): void;
  error(text: string): void;
}

/** `text` for people, `journald` for systemd (priorities as `<N>`, time left to the journal). */
export type LogFormat = "text" | "journald";

/** sd-daemon(3). */
const priorities: Record<LogRecord["level"], number> = {
  trace: 7,
  debug: 7,
  info: 6,
  warning: 4,
  error: 3,
  fatal: 2,
};

/** Sets where log lines go; `write` gets each line without its newline. */
export async function configureLog(
  format: LogFormat,
  level: LogLevel,
  write: (line: string) => void,
): Promise<void> {
  const sink: Sink = (record) => write(formatRecord(record, format));
  await configure({
    reset: true,
    sinks: { klb: sink, meta: getConsoleSink() },
    loggers: [
      { category: "klb", lowestLevel: level, sinks: ["klb"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["meta"] },
    ],
  });
}

/** The voice of one part of klb. */
export function openLog(part: string): Log {
  const logger = getLogger(["klb", part]);
  // The text is handed over as a value: names from the network may hold braces.
  return {
    debug: (text) => logger.debug("{text}", { text }),
    info: (text) => logger.info("{text}", { text }),
    warning: (text) => logger.warn("{text}", { text }),
    error: (text) => logger.error("{text}", { text }),
  };
}

function formatRecord(record: LogRecord, format: LogFormat): string {
  const part = record.category.slice(1).join(".");
  const text = printable(String(record.properties.text));
  return format === "journald"
    ? `<${priorities[record.level]}>${part}: ${text}`
    : `${new Date(record.timestamp).toISOString()} ${record.level.padEnd(7)} ${part}: ${text}`;
}
