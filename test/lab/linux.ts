/**
 * The few system calls the lab makes itself: starting `ip`, `mount` or `nsenter` costs 0.1 s each in
 * user-mode-linux, and a topology would take dozens of them.
 *
 * Not built on `ffi/` on purpose: the lab is a witness of klb and shares no code with it.
 *
 * @module
 */

/** True inside `deno task lab`: only there may namespaces be made and tables be changed. */
export const inLab: boolean = Deno.env.get("KLB_LAB_BACKEND") !== undefined;

// Opened at import, and only in the lab: the resource sanitizer of Deno.test reports what a test opens.
const libc = inLab
  ? Deno.dlopen("libc.so.6", {
    unshare: { parameters: ["i32"], result: "i32" },
    setns: { parameters: ["i32", "i32"], result: "i32" },
    mount: { parameters: ["buffer", "buffer", "buffer", "u64", "buffer"], result: "i32" },
    umount2: { parameters: ["buffer", "i32"], result: "i32" },
    open: { parameters: ["buffer", "i32"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
    socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
    bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
    send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
    sendto: {
      parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"],
      result: "isize",
    },
    recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
    recvmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
    setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
    poll: { parameters: ["buffer", "u64", "i32"], result: "i32" },
    ppoll: { parameters: ["buffer", "u64", "buffer", "pointer"], result: "i32" },
    pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
    setpriority: { parameters: ["i32", "u32", "i32"], result: "i32" },
    clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
    __errno_location: { parameters: [], result: "pointer" },
  })
  : undefined;

/** The open C library. */
export type Libc = NonNullable<typeof libc>["symbols"];

/**
 * The C library.
 *
 * @throws {Error} outside the lab.
 */
export function libcSymbols(): Libc {
  if (!libc) {
    throw new Error("this works only in the lab: deno task lab -- deno test -A FILE");
  }
  return libc.symbols;
}

/** A failed system call. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
  readonly errno: number;

  constructor(call: string, errno: number) {
    super(`${call}: errno ${errno}`);
    this.errno = errno;
  }
}

/** Checks a system call's result. */
export function check(result: number | bigint, call: string): number {
  if (Number(result) < 0) throw new SystemCallError(call, errno());
  return Number(result);
}

/** The C library's errno, right after a call. */
export function errno(): number {
  return new Deno.UnsafePointerView(libcSymbols().__errno_location()!).getInt32();
}

/** NUL-terminated bytes. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}

/** Sets how nice this thread, and what it starts, is to others (-20 to 19). */
export function setNice(value: number): void {
  libcSymbols().setpriority(0, 0, value);
}

const CLONE_NEWNET = 0x40000000;
const MS_BIND = 0x1000n;
const MS_REC = 0x4000n;
const MS_PRIVATE = 0x40000n;
const MNT_DETACH = 2;
const O_CLOEXEC = 0o2000000;

/** Mounts; `flags` are MS_* bits. */
export function mount(
  source: string,
  target: string,
  type: string,
  flags: bigint = 0n,
  data = "",
): void {
  check(
    libcSymbols().mount(cString(source), cString(target), cString(type), flags, cString(data)),
    `mount ${type || source} on ${target}`,
  );
}

/** Makes what is at `source` visible at `target` too. */
export function bindMount(source: string, target: string, recursive = false): void {
  mount(source, target, "", MS_BIND | (recursive ? MS_REC : 0n));
  // Mounts below one of the two places must not show at the other.
  mount("", target, "", MS_PRIVATE | (recursive ? MS_REC : 0n));
}

/** Unmounts `target` and everything below, now or when its last user is gone. */
export function unmount(target: string): void {
  check(libcSymbols().umount2(cString(target), MNT_DETACH), `umount ${target}`);
}

/** Opens a file for reading and returns its descriptor. */
export function openDescriptor(path: string): number {
  return check(libcSymbols().open(cString(path), O_CLOEXEC), `open ${path}`);
}

/** Closes a descriptor. */
export function closeDescriptor(descriptor: number): void {
  libcSymbols().close(descriptor);
}

/**
 * A network namespace with a name that `ip netns` knows.
 */
export class NetworkNamespace implements Disposable {
  readonly name: string;
  readonly path: string;
  readonly descriptor: number;
  /** What `/proc/PID/ns/net` reads for its processes. */
  readonly identity: string;

  /** Makes one. Must be called on the main thread. */
  constructor(name: string) {
    this.name = name;
    this.path = `/run/netns/${name}`;
    Deno.mkdirSync("/run/netns", { recursive: true });
    Deno.writeTextFileSync(this.path, "", { createNew: true });
    const home = openDescriptor("/proc/thread-self/ns/net");
    try {
      check(libcSymbols().unshare(CLONE_NEWNET), "unshare");
      bindMount("/proc/thread-self/ns/net", this.path);
      this.identity = Deno.readLinkSync("/proc/thread-self/ns/net");
    } finally {
      check(libcSymbols().setns(home, CLONE_NEWNET), "setns");
      closeDescriptor(home);
    }
    this.descriptor = openDescriptor(this.path);
  }

  /** Runs `work` in it; see {@link inNamespace}. */
  run<T>(work: () => T): T {
    return inNamespace(this.path, work);
  }

  [Symbol.dispose](): void {
    closeDescriptor(this.descriptor);
    unmount(this.path);
    Deno.removeSync(this.path);
  }
}

/**
 * Runs `work` with this thread in the network namespace at `path`.
 *
 * Sockets opened, /proc/net read and processes started synchronously in `work` belong to it.
 * Asynchronous operations must not start in it: Deno may make threads for them that would stay there.
 */
export function inNamespace<T>(path: string, work: () => T): T {
  const { setns } = libcSymbols();
  const home = openDescriptor("/proc/thread-self/ns/net");
  try {
    enterNamespace(path);
    return work();
  } finally {
    check(setns(home, CLONE_NEWNET), "setns back");
    closeDescriptor(home);
  }
}

/** Puts this thread into the network namespace at `path`, for good. */
export function enterNamespace(path: string): void {
  const descriptor = openDescriptor(path);
  try {
    check(libcSymbols().setns(descriptor, CLONE_NEWNET), `setns ${path}`);
  } finally {
    closeDescriptor(descriptor);
  }
}
