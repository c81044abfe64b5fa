/**
 * Tells systemd how the daemon is doing: the sd_notify(3) protocol.
 *
 * One datagram per message to the socket that `NOTIFY_SOCKET` names. Sent from this process and not
 * by `systemd-notify`, so that the sender's PID is right with `NotifyAccess=main`.
 *
 * @module
 */
import { type Libc, Linux, openLibc } from "./libc.ts";

/**
 * The states a service reports. Every call returns what went wrong, or undefined: a daemon works on
 * when nobody listens.
 */
export interface Notifier extends Disposable {
  /** Start-up, or a reload, is complete. */
  ready(status?: string): Error | undefined;
  /** One line for `systemctl status`. */
  status(text: string): Error | undefined;
  /** The configuration is read again; `ready` follows. */
  reloading(): Error | undefined;
  /** The daemon is about to end. */
  stopping(status?: string): Error | undefined;
  /** A sign of life, due within half of `WATCHDOG_USEC`. */
  watchdog(): Error | undefined;
}

/**
 * A notifier for the socket at `address`: a path, or `@name` in the abstract namespace. Without an
 * address nothing is opened and every call does nothing.
 */
export function openNotifier(address: string | undefined): Notifier {
  if (!address) return new SocketNotifier(undefined, undefined);
  try {
    return new SocketNotifier(openLibc(), socketAddress(address));
  } catch (error) {
    return new SocketNotifier(undefined, error instanceof Error ? error : new Error(String(error)));
  }
}

class SocketNotifier implements Notifier {
  readonly #libc: Libc | undefined;
  readonly #address: Uint8Array<ArrayBuffer> | Error | undefined;

  constructor(libc: Libc | undefined, address: Uint8Array<ArrayBuffer> | Error | undefined) {
    this.#libc = libc;
    this.#address = address;
  }

  ready(status?: string): Error | undefined {
    return this.#send("READY=1", status);
  }

  status(text: string): Error | undefined {
    return this.#send(undefined, text);
  }

  reloading(): Error | undefined {
    const time = new BigInt64Array(2); // struct timespec: seconds, nanoseconds
    this.#libc?.symbols.clock_gettime(Linux.CLOCK_MONOTONIC, time);
    // systemd compares this with its own clock to tell this reload from an earlier one.
    return this.#send(`RELOADING=1\nMONOTONIC_USEC=${time[0]! * 1_000_000n + time[1]! / 1000n}`);
  }

  stopping(status?: string): Error | undefined {
    return this.#send("STOPPING=1", status);
  }

  watchdog(): Error | undefined {
    return this.#send("WATCHDOG=1");
  }

  [Symbol.dispose](): void {
    this.#libc?.[Symbol.dispose]();
  }

  #send(state: string | undefined, status?: string): Error | undefined {
    if (this.#address === undefined || this.#address instanceof Error) return this.#address;
    const libc = this.#libc!;
    const lines = state === undefined ? [] : [state];
    // A newline would start another assignment.
    if (status !== undefined) lines.push(`STATUS=${status.replaceAll(/[\r\n]+/g, " ")}`);
    const message = new TextEncoder().encode(lines.join("\n"));
    const { AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC, MSG_DONTWAIT, MSG_NOSIGNAL } = Linux;
    const fd = libc.symbols.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return new Error(`notify: socket failed with errno ${libc.errno()}`);
    const sent = libc.symbols.sendto(
      fd,
      message,
      BigInt(message.length),
      MSG_DONTWAIT | MSG_NOSIGNAL,
      this.#address,
      this.#address.length,
    );
    const errno = libc.errno();
    libc.symbols.close(fd);
    return sent < 0n ? new Error(`notify: sending failed with errno ${errno}`) : undefined;
  }
}

/** struct sockaddr_un of a path (NUL-terminated) or an abstract name (led by NUL, not terminated). */
function socketAddress(address: string): Uint8Array<ArrayBuffer> | Error {
  const abstract = address.startsWith("@");
  if (!abstract && !address.startsWith("/")) {
    return new Error(`notify: NOTIFY_SOCKET is neither a path nor an abstract name: ${address}`);
  }
  const name = new TextEncoder().encode(abstract ? "\0" + address.slice(1) : address + "\0");
  if (name.length > 108) return new Error("notify: NOTIFY_SOCKET is longer than 108 bytes");
  const bytes = new Uint8Array(2 + name.length);
  new Uint16Array(bytes.buffer, 0, 1)[0] = Linux.AF_UNIX;
  bytes.set(name, 2);
  return bytes;
}
