/**
 * What the client needs of a generic netlink socket. The real one is handed in by `main.ts`, a fake
 * one by tests.
 *
 * @module
 */

/**
 * How long the kernel may be busy with a datagram before `send` can return, for netlink requests run
 * to their end within it. `quick`: a request to read, microseconds. `slow`: changes, of which some
 * take long (a scheduler's change waits for RCU, up to 0.3 s; a huge virtual service takes minutes);
 * the event loop must live on meanwhile.
 */
export type Work = "quick" | "slow";

/** A connected generic netlink socket. */
export interface Transport extends Disposable {
  /**
   * Sends one datagram of one or more netlink messages. It must stay unchanged until the promise
   * settles. By then the kernel has executed every message, and the replies can be received.
   *
   * Rejects with an Error that carries `errno` where the number is known.
   */
  send(datagram: Uint8Array, work: Work): Promise<void>;
  /**
   * The next datagram, or null when none came within `timeoutMs` milliseconds; 0 does not wait. Right
   * until the next call: its memory is used again.
   *
   * Rejects with an Error that carries `errno`: ENOBUFS (105) once after replies were lost because
   * the receive buffer was full; what is in the buffer can still be received.
   */
  receive(timeoutMs: number): Promise<Uint8Array | null>;
}
