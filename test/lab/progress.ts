/**
 * A progress line on standard error, shown only when something takes longer than a second.
 *
 * @module
 */

const encoder = new TextEncoder();

/**
 * Says what is going on while it takes longer than a second: `lab: booting the kernel ... 3 s`.
 *
 * On a terminal the line is kept up to date and removed at the end; elsewhere it is written once.
 */
export class Progress implements Disposable {
  readonly #label: string;
  readonly #started = performance.now();
  readonly #terminal = Deno.stderr.isTerminal();
  readonly #timer: ReturnType<typeof setInterval>;
  #shown = false;

  constructor(label: string, quiet = false) {
    this.#label = label;
    this.#timer = setInterval(() => this.#show(), 1000);
    if (quiet) clearInterval(this.#timer);
    else Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Ends the line. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (this.#shown && this.#terminal) write("\r\x1b[K");
  }

  #show(): void {
    const seconds = Math.round((performance.now() - this.#started) / 1000);
    if (this.#terminal) write(`\r\x1b[K${this.#label} ... ${seconds} s`);
    else if (!this.#shown) write(`${this.#label} ...\n`);
    this.#shown = true;
  }
}

/** Runs `work` under a {@link Progress} line. */
export async function withProgress<T>(label: string, work: () => Promise<T>): Promise<T> {
  using _progress = new Progress(label);
  return await work();
}

function write(text: string): void {
  Deno.stderr.writeSync(encoder.encode(text));
}
