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

interface Place<T> {
  readonly at: number;
  readonly item: T;
}

/** Outdated places that are tolerated before the queue is rebuilt without them. */
const slack = 64;

/**
 * A queue by deadline. Postponing costs nothing and leaves nothing behind: an item is looked at
 * when its earlier deadline passes and filed again, so a record renewed ten thousand times a second
 * occupies one place. Cancelling or bringing forward leaves an outdated place behind; when those
 * outnumber the items they are swept out, so that no announcer can make the queue grow.
 */
export class Deadlines<T extends Timed> {
  #queue = newQueue<T>([]);
  /** Items that are due at some time. */
  #due = 0;

  /** Places in the queue, outdated ones included: what it costs in memory. */
  get length(): number {
    return this.#queue.length;
  }

  /** Makes `item` due at `at` and at no other time. */
  set(item: T, at: number): void {
    this.#setDue(item, at);
    if (at < item.queuedAt) this.#file(item, at);
    if (this.#queue.length > 2 * this.#due + slack) this.#sweep();
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
    this.#setDue(item, Infinity);
    item.queuedAt = Infinity;
    return item;
  }

  #setDue(item: T, at: number): void {
    if (item.dueAt !== Infinity) this.#due--;
    if (at !== Infinity) this.#due++;
    item.dueAt = at;
  }

  #file(item: T, at: number): void {
    item.queuedAt = at;
    this.#queue.push({ at, item });
  }

  #sweep(): void {
    const items = new Set(this.#queue.data.map(({ item }) => item));
    for (const item of items) {
      item.queuedAt = item.dueAt;
      if (item.dueAt === Infinity) items.delete(item);
    }
    this.#queue = newQueue([...items].map((item) => ({ at: item.dueAt, item })));
  }
}

function newQueue<T>(places: Place<T>[]): TinyQueue<Place<T>> {
  return new TinyQueue(places, (a, b) => a.at - b.at);
}
