/**
 * Tells when the kernel's links, their addresses or the wall clock have changed, by rtnetlink(7) and
 * timerfd_create(2), so that nobody has to look at them again and again.
 *
 * @module
 */
import { type Libc, Linux, openLibc } from "./libc.ts";

/** Bytes taken from the socket at a time; what does not fit is of no interest. */
const bufferSize = 8192;

/**
 * Calls `onChange` after each change or bunch of changes, until disposed. It does not say what has
 * changed: the receiver looks for itself, and so can miss nothing, lost messages included.
 *
 * The wall clock counts as changed when it was set, and after the machine was suspended.
 *
 * @throws {Error} naming what the kernel or the sandbox refuses.
 */
export function watchSystem(onChange: () => void): AsyncDisposable {
  using stack = new DisposableStack();
  const libc = stack.use(openLibc());
  const links = stack.adopt(openLinkSocket(libc), (fd) => libc.symbols.close(fd));
  const clock = stack.adopt(openClockWatch(libc), (fd) => libc.symbols.close(fd));
  const end = stack.adopt(openEvent(libc), (fd) => libc.symbols.close(fd));
  const watching = watch(libc, { links, clock, end }, onChange);
  const resources = stack.move();
  return {
    async [Symbol.asyncDispose]() {
      if (resources.disposed) return;
      libc.symbols.eventfd_write(end, 1n);
      // The thread that waits for them must let go of the descriptors first.
      await watching;
      resources.dispose();
    },
  };
}

async function watch(
  libc: Libc,
  { links, clock, end }: Readonly<Record<"links" | "clock" | "end", number>>,
  onChange: () => void,
): Promise<void> {
  const { POLLIN, MSG_DONTWAIT } = Linux;
  const buffer = new Uint8Array(bufferSize);
  // struct pollfd: the descriptor, what is asked for, and what is so in the upper half.
  const request = new Int32Array([links, POLLIN, clock, POLLIN, end, POLLIN]);
  const isReady = (place: number) => request[2 * place + 1]! >>> 16 !== 0;
  for (;;) {
    const ready = await libc.symbols.poll(request, 3n, -1);
    if (ready <= 0) continue; // Interrupted by a signal.
    if (isReady(2)) return;
    if (isReady(0)) {
      while (libc.symbols.recv(links, buffer, BigInt(bufferSize), MSG_DONTWAIT) > 0n);
    }
    // Fails with ECANCELED, which takes note of the change.
    if (isReady(1)) libc.symbols.read(clock, buffer, 8n);
    onChange();
  }
}

/** A socket that gets a message for every change of a link or an address. */
function openLinkSocket(libc: Libc): number {
  const { AF_NETLINK, SOCK_RAW, SOCK_CLOEXEC, NETLINK_ROUTE } = Linux;
  const fd = demand(
    libc,
    "a NETLINK_ROUTE socket",
    libc.symbols.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE),
  );
  // struct sockaddr_nl: family and padding, port (the kernel chooses), groups.
  const groups = 0x1 | 0x10 | 0x100; // RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
  const address = new Uint32Array([AF_NETLINK, 0, groups]);
  const bound = libc.symbols.bind(fd, new Uint8Array(address.buffer), address.byteLength);
  if (bound < 0) {
    const errno = libc.errno();
    libc.symbols.close(fd);
    throw new Error(`cannot follow the network interfaces: bind failed (errno ${errno})`);
  }
  return fd;
}

/** A timer that never comes but is cancelled, and thereby readable, when the clock is set. */
function openClockWatch(libc: Libc): number {
  const { CLOCK_REALTIME, TFD_NONBLOCK, TFD_CLOEXEC } = Linux;
  const { TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET } = Linux;
  const fd = demand(
    libc,
    "a timer",
    libc.symbols.timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC),
  );
  // struct itimerspec: interval, then the time; the end of time, as far as the kernel counts.
  const never = new BigInt64Array([0n, 0n, 2n ** 62n, 0n]);
  libc.symbols.timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, never, null);
  return fd;
}

function openEvent(libc: Libc): number {
  return demand(libc, "an event", libc.symbols.eventfd(0, Linux.TFD_NONBLOCK | Linux.TFD_CLOEXEC));
}

function demand(libc: Libc, what: string, descriptor: number): number {
  if (descriptor >= 0) return descriptor;
  throw new Error(`cannot follow the network interfaces: no ${what} (errno ${libc.errno()})`);
}
