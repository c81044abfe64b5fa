/**
 * A multicast link in virtual time that loses, doubles, delays and reorders packets.
 *
 * @module
 */
import TinyQueue from "tinyqueue";
import { Deadlines, neverDue, type Timed } from "../../src/discovery/deadlines.ts";
import { decodeMessage, type Message } from "../../src/discovery/dns/message.ts";

/** What is attached to a link. It is polled after everything it is told. */
export interface End {
  /** A packet arrived. The message is decoded once for all who receive it: do not change it. */
  handlePacket(bytes: Uint8Array, message: Message, now: number): void;
  handleTimeout(now: number): void;
  nextDeadline(): number;
  pollTransmit(): Uint8Array | undefined;
}

/** How bad a link is. */
export interface Conditions {
  /** Share of deliveries that are lost. */
  readonly loss: number;
  /** Share of deliveries that happen twice. */
  readonly duplication: number;
  /** Milliseconds a delivery takes at the most; each its own, so packets overtake each other. */
  readonly delay: number;
}

interface Attached extends Timed {
  readonly end: End;
}

interface Event {
  readonly at: number;
  /** Keeps events of one time in the order they were made. */
  readonly order: number;
  readonly happen: () => void;
}

/** See the module. */
export class SimulatedLink {
  now = 0;
  conditions: Conditions = { loss: 0, duplication: 0, delay: 0 };
  readonly #random: () => number;
  readonly #ends = new Set<Attached>();
  readonly #deadlines = new Deadlines<Attached>();
  readonly #events = new TinyQueue<Event>([], (a, b) => a.at - b.at || a.order - b.order);
  #order = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  attach(end: End): void {
    const attached = { ...neverDue, end };
    this.#ends.add(attached);
    this.#poll(attached);
  }

  /** Makes something happen to any of the ends at a time. */
  at(time: number, happen: () => void): void {
    this.#schedule(time, () => {
      happen();
      this.#pollAll();
    });
  }

  /** Lets time pass until `end`. What was done to the ends by hand before takes effect first. */
  run(end: number): void {
    this.#pollAll();
    for (;;) {
      const event = this.#events.peek();
      const next = Math.min(event?.at ?? Infinity, this.#deadlines.next());
      if (next > end) break;
      this.now = Math.max(this.now, next);
      if (event && event.at <= next) {
        this.#events.pop();
        event.happen();
        continue;
      }
      const attached = this.#deadlines.take(next)!;
      attached.end.handleTimeout(this.now);
      this.#poll(attached);
      if (attached.dueAt <= this.now) throw new Error("an end is due at once again");
    }
    this.now = end;
  }

  #pollAll(): void {
    for (const attached of this.#ends) this.#poll(attached);
  }

  #poll(attached: Attached): void {
    for (let bytes; (bytes = attached.end.pollTransmit());) {
      const message = decodeMessage(bytes);
      if (!message || message.skipped > 0) throw new Error("a packet that cannot be read was sent");
      this.#multicast(bytes, message);
    }
    this.#deadlines.set(attached, attached.end.nextDeadline());
  }

  /** To everybody, oneself included. */
  #multicast(bytes: Uint8Array, message: Message): void {
    const { loss, duplication, delay } = this.conditions;
    const deliver = (receiver: Attached) => {
      receiver.end.handlePacket(bytes, message, this.now);
      this.#poll(receiver);
    };
    if (loss === 0 && duplication === 0 && delay === 0) {
      this.#schedule(this.now, () => this.#ends.forEach(deliver));
      return;
    }
    for (const receiver of this.#ends) {
      if (this.#random() < loss) continue;
      for (let copies = this.#random() < duplication ? 2 : 1; copies > 0; copies--) {
        this.#schedule(this.now + this.#random() * delay, () => deliver(receiver));
      }
    }
  }

  #schedule(time: number, happen: () => void): void {
    this.#events.push({ at: Math.max(time, this.now), order: this.#order++, happen });
  }
}
