/**
 * A process in one of the lab's namespaces, with its output kept for failure messages.
 *
 * @module
 */

/** How a process ended, and what it said. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running process. Disposing kills it. */
export class LabProcess implements AsyncDisposable {
  readonly label: string;
  readonly pid: number;
  /** Resolves when it has ended and all its output is read. */
  readonly finished: Promise<Finished>;
  readonly #child: Deno.ChildProcess;
  #stdout = "";
  #stderr = "";
  #ended = false;
  #changed = Promise.withResolvers<void>();

  /** Takes over a process spawned with both outputs piped. */
  constructor(label: string, child: Deno.ChildProcess) {
    this.label = label;
    this.pid = child.pid;
    this.#child = child;
    this.finished = Promise.all([
      child.status,
      this.#collect(child.stdout, (text) => this.#stdout += text),
      this.#collect(child.stderr, (text) => this.#stderr += text),
    ]).then(([{ code }]) => {
      this.#wake();
      return { code, stdout: this.#stdout, stderr: this.#stderr };
    });
    child.status.then(() => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** What it has written to standard output so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** What it has written to standard error so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** Both outputs, for failure messages. */
  get log(): string {
    return [this.#stdout, this.#stderr].filter((each) => each !== "").join("\n");
  }

  /** It is no longer running. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Waits until a line of its output matches.
   *
   * @throws {Error} with the whole log, after `timeoutMs` or when it ends without.
   */
  async waitForLog(pattern: RegExp, timeoutMs = 30_000): Promise<RegExpExecArray> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const match = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
      if (match) return match;
      const left = until - performance.now();
      if (left <= 0 || this.#ended) {
        if (this.#ended) {
          await this.finished;
          const late = pattern.exec(this.#stdout) ?? pattern.exec(this.#stderr);
          if (late) return late;
        }
        throw new Error(
          `${this.label} ${this.#ended ? "ended" : `ran ${timeoutMs} ms`} without saying ` +
            `${pattern}; its output:\n${this.log || "(none)"}`,
        );
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([
        this.#changed.promise,
        new Promise((resolve) => timer = setTimeout(resolve, left)),
      ]);
      clearTimeout(timer);
    }
  }

  /** Sends a signal, if it is still there. */
  signal(name: Deno.Signal): void {
    if (this.#ended) return;
    try {
      this.#child.kill(name);
    } catch {
      // Ended in between.
    }
  }

  /** SIGTERM, and SIGKILL when that is not obeyed within `limitMs`. */
  async terminate(limitMs = 10_000): Promise<Finished> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), limitMs);
    const finished = await this.finished;
    clearTimeout(timer);
    return finished;
  }

  /** SIGKILL: it has no chance to say or do anything. */
  async kill9(): Promise<Finished> {
    this.signal("SIGKILL");
    return await this.finished;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.finished;
  }

  async #collect(
    stream: ReadableStream<Uint8Array>,
    add: (text: string) => void,
  ): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      add(decoder.decode(chunk, { stream: true }));
      this.#wake();
    }
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
