/**
 * Many things with one deadline each, behind one timer.
 *
 * @module
 */
import TinyQueue from "tinyqueue";

/** Something that is due at a time. Only {@link Deadlines} writes these fields. */
export interface Timed {
  /** Monotonic milliseconds; Infinity means never. */
  dueAt: number;
  /** When the queue will next look at it. */
  queuedAt: number;
}

/** The starting fields of a {@link Timed}. */
export const neverDue = { dueAt: Infinity, queuedAt: Infinity } as const;

/**
 * A queue by deadline. Postponing costs nothing and leaves nothing behind: an item is looked at
 * when its earlier deadline passes and filed again, so a record renewed ten thousand times a second
 * occupies one place.
 */
export class Deadlines<T extends Timed> {
  readonly #queue = new TinyQueue<{ at: number; item: T }>([], (a, b) => a.at - b.at);

  /** Makes `item` due at `at` and at no other time. */
  set(item: T, at: number): void {
    item.dueAt = at;
    if (at < item.queuedAt) this.#file(item, at);
  }

  /** The earliest deadline, or Infinity. */
  next(): number {
    for (;;) {
      const first = this.#queue.peek();
      if (!first) return Infinity;
      const { at, item } = first;
      if (item.queuedAt === at && item.dueAt === at) return at;
      this.#queue.pop();
      if (item.queuedAt !== at) continue;
      item.queuedAt = Infinity;
      if (item.dueAt !== Infinity) this.#file(item, item.dueAt);
    }
  }

  /** Takes one item that is due, or undefined. It is due never again until set again. */
  take(now: number): T | undefined {
    if (this.next() > now) return undefined;
    const item = this.#queue.pop()?.item;
    if (!item) return undefined;
    item.dueAt = Infinity;
    item.queuedAt = Infinity;
    return item;
  }

  #file(item: T, at: number): void {
    item.queuedAt = at;
    this.#queue.push({ at, item });
  }
}
