/**
 * The few functions of the C library that Deno does not offer.
 *
 * Nothing is opened at import: {@link openLibc} opens, disposal closes. Numbers of Linux on x86-64
 * and arm64, the machines Deno runs on, where they agree.
 *
 * @module
 */

const definitions = {
  __errno_location: { parameters: [], result: "pointer" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  /** usize as bigint: a number is six times slower. */
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "isize" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  /** The name NUL-terminated; 0 when there is no such interface. */
  if_nametoindex: { parameters: ["buffer"], result: "u32" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  timerfd_create: { parameters: ["i32", "i32"], result: "i32" },
  timerfd_settime: { parameters: ["i32", "i32", "buffer", "buffer"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  eventfd_write: { parameters: ["i32", "u64"], result: "i32" },
  free: { parameters: ["pointer"], result: "void" },
  /** Waits on another thread, so that the event loop lives on. */
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** The C library, open until disposed. */
export interface Libc extends Disposable {
  readonly symbols: Deno.StaticForeignLibraryInterface<typeof definitions>;
  /** The number of the last failure. Right only directly after the (synchronous) call that failed. */
  errno(): number;
}

/** Numbers of Linux by the names its headers give them, as far as they are used here. */
export const Linux = {
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  AF_NETLINK: 16,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  SOCK_CLOEXEC: 0x80000,
  SOL_SOCKET: 1,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
  SOL_NETLINK: 270,
  NETLINK_CAP_ACK: 10,
  NETLINK_EXT_ACK: 11,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  NETLINK_ROUTE: 0,
  CLOCK_REALTIME: 0,
  CLOCK_MONOTONIC: 1,
  /** Also the flags of eventfd(2). */
  TFD_NONBLOCK: 0x800,
  TFD_CLOEXEC: 0x80000,
  TFD_TIMER_ABSTIME: 1,
  TFD_TIMER_CANCEL_ON_SET: 2,
  POLLIN: 1,
} as const;

/**
 * Opens the C library.
 *
 * @throws {Deno.errors.NotCapable} without `--allow-ffi`.
 * @throws {Error} where there is no glibc (`libc.so.6`).
 */
export function openLibc(): Libc {
  const library = Deno.dlopen("libc.so.6", definitions);
  // The place is the thread's own, and this isolate never leaves its thread.
  const place = new Deno.UnsafePointerView(library.symbols.__errno_location()!);
  return {
    symbols: library.symbols,
    errno: () => place.getInt32(),
    [Symbol.dispose]: () => library.close(),
  };
}

/** `text` in UTF-8 with the terminating NUL that C expects. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}
