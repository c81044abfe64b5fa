/**
 * The main thread's side of a traffic thread.
 *
 * @module
 */
import type { Answer, Call, Operations } from "./thread_protocol.ts";

/** A running traffic thread. */
export class TrafficThread implements Disposable {
  readonly #worker = new Worker(new URL("./thread_main.ts", import.meta.url), { type: "module" });
  readonly #waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void }
  >();
  #next = 0;

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data.value);
      else waiting?.reject(new Error(data.error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Error(`traffic thread: ${event.message}`));
    };
  }

  /** Runs an operation there. */
  call<Name extends keyof Operations>(
    operation: Name,
    options: Parameters<Operations[Name]>[0],
  ): Promise<ReturnType<Operations[Name]>> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#worker.postMessage({ id, operation, options } satisfies Call);
    });
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
    this.#fail(new Error("the traffic thread has ended"));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
