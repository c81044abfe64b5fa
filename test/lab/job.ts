/**
 * One command to be run in the lab, whichever the kernel.
 *
 * @module
 */

/** What to run, and under which limits. */
export interface Job {
  /** Command and arguments; empty means a shell. */
  readonly command: readonly string[];
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Attach the caller's terminal. */
  readonly terminal: boolean;
  /** What the command reads; undefined means nothing. Ignored with a terminal. */
  readonly input: Uint8Array | undefined;
  /** Directory on the host that the command may write to, at the same path. */
  readonly out: string | undefined;
  readonly timeoutMs: number;
  readonly memoryMb: number;
  readonly quiet: boolean;
}

/** Exit status when the time limit ended the command, as timeout(1) has it. */
export const exitTimeout = 124;

/** Exit status when the lab's kernel failed (EX_SOFTWARE). */
export const exitKernel = 70;

/** Thrown when the lab, and not the command, failed; carries the exit status. */
export class LabError extends Error {
  override readonly name = "LabError";
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** What is thrown when the job's time is over. */
export function overtime(job: Job): LabError {
  return new LabError(
    `the command did not end within ${formatDuration(job.timeoutMs)} and was ended ` +
      `(--timeout sets the limit): ${job.command.join(" ") || "the shell"}`,
    exitTimeout,
  );
}

/** Quotes a word for the POSIX shell. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The shell script that becomes the job's command. */
export function jobScript(job: Job): string {
  const lines = Object.entries(job.environment).map(([name, value]) =>
    `export ${name}=${shellQuote(value)}`
  );
  lines.push(`cd ${shellQuote(job.directory)} || exit 70`);
  if (job.terminal) {
    const { columns, rows } = consoleSize();
    lines.push(`stty rows ${rows} cols ${columns} sane 2>/dev/null`);
  }
  const command = job.command.length > 0
    ? job.command
    : [job.terminal ? job.environment.SHELL ?? "/bin/sh" : "/bin/sh"];
  lines.push(`exec ${command.map(shellQuote).join(" ")}`);
  return lines.join("\n") + "\n";
}

const passed =
  /^(PATH|HOME|USER|LOGNAME|SHELL|TERM|COLORTERM|LANG|LC_.*|TZ|CI|NO_COLOR|FORCE_COLOR|DENO_.*|KLB_.*|NPM_CONFIG_.*|npm_config_.*|SSL_CERT_.*|NODE_EXTRA_CA_CERTS)$/;

/** The part of an environment that the job gets. `deno` is put on its PATH, and so is sbin. */
export function jobEnvironment(
  all: Readonly<Record<string, string>>,
  denoPath: string,
): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(all)) {
    if (passed.test(name)) result[name] = value;
  }
  const path = (all.PATH ?? "").split(":").filter((each) => each !== "");
  // Inside `deno task`, and under npx, `deno` is not on the PATH by itself.
  if (/(^|\/)deno$/.test(denoPath)) path.unshift(denoPath.replace(/\/deno$/, ""));
  path.push("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin");
  result.PATH = [...new Set(path)].join(":");
  return result;
}

/** Reads `90s`, `5m`, `1h`, `500ms`; undefined when it is none of them. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text);
  if (!match) return undefined;
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] as "ms" | "s" | "m" | "h"];
  return Number(match[1]) * unit;
}

/** Reads `2G` or `512M` into MiB; undefined when it is neither. */
export function parseMemory(text: string): number | undefined {
  const match = /^(\d+)([GM])$/i.exec(text);
  if (!match) return undefined;
  return Number(match[1]) * (match[2]!.toUpperCase() === "G" ? 1024 : 1);
}

/** `15 min`, `90 s`. */
export function formatDuration(ms: number): string {
  return ms >= 60_000 && ms % 60_000 === 0 ? `${ms / 60_000} min` : `${ms / 1000} s`;
}

function consoleSize(): { columns: number; rows: number } {
  try {
    return Deno.consoleSize();
  } catch {
    return { columns: 80, rows: 24 };
  }
}
