/**
 * A generic netlink socket of libnl, as the transport the IPVS client asks for.
 *
 * @module
 */
import { type Libc, Linux, openLibc } from "./libc.ts";
import { type Libnl, NlError, openLibnl } from "./libnl.ts";

/**
 * Bytes asked for either buffer; the kernel doubles them. The reply to a failed message is charged
 * 770-960 bytes, and a datagram must fit the send buffer, so the default of 64 KiB is too little.
 */
const bufferSize = 8 << 20;

/**
 * The largest datagram of a dump (net/netlink/af_netlink.c, netlink_dump), and so enough for one
 * receive: libnl need not look at the length first.
 */
const messageBufferSize = 32768n;

/** Milliseconds during which requests that are answered at once may follow each other. */
const holdLimit = 5;

/** Calls between two looks at the clock: a system call where there is no vDSO. */
const callsPerLook = 16;

/** `errno` numbers of what libnl tells apart. */
const Errno = { EPERM: 1, EIO: 5, EAGAIN: 11, ENOBUFS: 105 } as const;

/** A function of libnl failed. */
export class SocketError extends Error {
  override name = "SocketError";
  /** The kernel's number as far as libnl still knows it; EIO where not. */
  readonly errno: number;

  constructor(message: string, errno: number) {
    super(message);
    this.errno = errno;
  }
}

/** Options of {@link openNetlinkSocket}. */
export interface NetlinkSocketOptions {
  /** Where to look for libnl instead of where the system's loader does. */
  readonly libraryDirectory?: string;
}

/**
 * A connected generic netlink socket. Needs no privilege; what the messages ask for may.
 *
 * Requests that are answered at once are sent and received on this thread, for a hop to another costs
 * more (10-20 us, and 0.5 ms under user-mode-linux) than they take; every few milliseconds others get
 * their turn. Changes are sent on another thread: the kernel may be busy with them for long.
 */
export class NetlinkSocket implements Disposable {
  readonly #libc: Libc;
  readonly #libnl: Libnl;
  readonly #socket: Deno.PointerValue;
  readonly #fd: number;
  /** struct sockaddr_nl and unsigned char *, which nl_recv fills. */
  readonly #sender = new Uint8Array(12);
  readonly #received = new BigUint64Array(1);
  /** Where datagrams are handed out. */
  #datagram = new Uint8Array(Number(messageBufferSize));
  readonly #resources: DisposableStack;
  /** When other work last had its turn, by performance.now(). */
  #turn = 0;
  #calls = 0;
  /** What calls on other threads use: kept here from the collector, and the socket from closing. */
  readonly #inUse = new Set<ArrayBufferView>();
  #disposed = false;

  /** Opened by {@link openNetlinkSocket}. */
  constructor(
    libc: Libc,
    libnl: Libnl,
    socket: Deno.PointerValue,
    resources: DisposableStack,
  ) {
    this.#libc = libc;
    this.#libnl = libnl;
    this.#socket = socket;
    this.#fd = libnl.core.nl_socket_get_fd(socket);
    this.#resources = resources;
  }

  /**
   * Sends one datagram. See `Transport` for the meaning of `work`.
   *
   * @throws {SocketError} when it could not be sent.
   */
  async send(datagram: Uint8Array, work: "quick" | "slow"): Promise<void> {
    this.#check();
    // Types cannot tell, but no shared buffer comes this way.
    const bytes = datagram as Uint8Array<ArrayBuffer>;
    const size = BigInt(bytes.length);
    let result: number;
    if (work === "quick") {
      await this.#takeTurns();
      this.#check();
      result = this.#libnl.core.nl_sendto(this.#socket, bytes, size);
    } else {
      result = await this.#elsewhere(
        bytes,
        this.#libnl.core.nl_sendto_elsewhere(this.#socket, bytes, size),
      );
      this.#turn = performance.now();
    }
    if (result < 0) throw this.#error("sending", result);
  }

  /**
   * The next datagram, or null when none came within `timeoutMs`. Right until the next call.
   *
   * @throws {SocketError} with ENOBUFS once after datagrams were lost.
   */
  async receive(timeoutMs: number): Promise<Uint8Array | null> {
    let deadline: number | undefined;
    for (;;) {
      await this.#takeTurns();
      this.#check();
      const result = this.#libnl.core.nl_recv(this.#socket, this.#sender, this.#received, null);
      if (result > 0) return this.#take(result);
      // 0 would be the end of a stream, and datagram sockets have none.
      if (result === 0) throw new SocketError("receiving: empty datagram", Errno.EIO);
      if (result !== -NlError.AGAIN) throw this.#error("receiving", result);
      if (timeoutMs <= 0) return null;
      const now = performance.now();
      deadline ??= now + timeoutMs;
      if (now >= deadline) return null;
      await this.#readable(deadline - now);
    }
  }

  /** Closes the socket, once no other thread is using it. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#inUse.size === 0) this.#resources.dispose();
  }

  #check(): void {
    if (this.#disposed) throw new SocketError("the netlink socket is closed", Errno.EIO);
  }

  /** Copies what nl_recv allocated, and frees it. */
  #take(length: number): Uint8Array {
    const pointer = Deno.UnsafePointer.create(this.#received[0]!)!;
    try {
      if (length > this.#datagram.length) this.#datagram = new Uint8Array(length);
      const bytes = this.#datagram.subarray(0, length);
      Deno.UnsafePointerView.copyInto(pointer, bytes);
      return bytes;
    } finally {
      this.#libc.symbols.free(pointer);
    }
  }

  /** Waits until there is something to receive, at most so many milliseconds. */
  async #readable(timeoutMs: number): Promise<void> {
    const request = new Int32Array([this.#fd, Linux.POLLIN]); // struct pollfd
    // In slices, so that disposal is not held up for long.
    await this.#elsewhere(
      request,
      this.#libc.symbols.poll(request, 1n, Math.ceil(Math.min(timeoutMs, 250))),
    );
    this.#turn = performance.now();
  }

  async #elsewhere<T>(buffer: ArrayBufferView, call: Promise<T>): Promise<T> {
    this.#inUse.add(buffer);
    try {
      return await call;
    } finally {
      this.#inUse.delete(buffer);
      if (this.#inUse.size === 0 && this.#disposed) this.#resources.dispose();
    }
  }

  /** Lets the event loop run when this thread has been busy here for long. */
  async #takeTurns(): Promise<void> {
    if (++this.#calls % callsPerLook !== 0) return;
    if (performance.now() - this.#turn < holdLimit) return;
    // A timer of 0 ms costs a millisecond or more, this some microseconds.
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#turn = performance.now();
  }

  #error(what: string, result: number): SocketError {
    const text = this.#libnl.core.nl_geterror(result);
    const reason = text === null ? String(result) : Deno.UnsafePointerView.getCString(text);
    const errno = result === -NlError.NOMEM
      // libnl's word for ENOBUFS, and for ENOMEM.
      ? Errno.ENOBUFS
      : result === -NlError.PERM
      ? Errno.EPERM
      : result === -NlError.AGAIN
      ? Errno.EAGAIN
      : Errno.EIO;
    return new SocketError(`${what}: ${reason}`, errno);
  }
}

/**
 * Opens the libraries and a socket.
 *
 * @throws {LibraryError} where libnl is missing.
 * @throws {SocketError} where the kernel or the sandbox refuses the socket.
 * @throws {Deno.errors.NotCapable} without `--allow-ffi`.
 */
export function openNetlinkSocket(options: NetlinkSocketOptions = {}): NetlinkSocket {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
    throw new Error("messages are written in little-endian order, and this machine is big-endian");
  }
  using stack = new DisposableStack();
  const libc = stack.use(openLibc());
  const libnl = stack.use(openLibnl(options.libraryDirectory));
  const { core, generic } = libnl;
  const socket = core.nl_socket_alloc();
  if (socket === null) throw new SocketError("opening: out of memory", Errno.ENOBUFS);
  stack.defer(() => core.nl_socket_free(socket));
  const demand = (what: string, result: number) => {
    if (result >= 0) return;
    const text = core.nl_geterror(result);
    const reason = text === null ? String(result) : Deno.UnsafePointerView.getCString(text);
    throw new SocketError(
      `cannot open a generic netlink socket: ${what}: ${reason}; ` +
        "a sandbox must allow AF_NETLINK (systemd: RestrictAddressFamilies=AF_NETLINK)",
      result === -NlError.PERM ? Errno.EPERM : Errno.EIO,
    );
  };
  demand("connecting", generic.genl_connect(socket));
  demand("setting it non-blocking", core.nl_socket_set_nonblocking(socket));
  demand("setting the buffer", core.nl_socket_set_msg_buf_size(socket, messageBufferSize));
  // Flags and sequence numbers are the client's.
  core.nl_socket_disable_auto_ack(socket);
  core.nl_socket_disable_seq_check(socket);

  const fd = core.nl_socket_get_fd(socket);
  const set = (level: number, name: number, value: number) =>
    libc.symbols.setsockopt(fd, level, name, new Int32Array([value]), 4) === 0;
  const { SOL_SOCKET, SOL_NETLINK } = Linux;
  // The forced ones need CAP_NET_ADMIN and ignore net.core.*mem_max.
  if (!set(SOL_SOCKET, Linux.SO_SNDBUFFORCE, bufferSize)) {
    set(SOL_SOCKET, Linux.SO_SNDBUF, bufferSize);
  }
  if (!set(SOL_SOCKET, Linux.SO_RCVBUFFORCE, bufferSize)) {
    set(SOL_SOCKET, Linux.SO_RCVBUF, bufferSize);
  }
  // Errors say why; and do not repeat the request, which would fill the buffer.
  set(SOL_NETLINK, Linux.NETLINK_EXT_ACK, 1);
  set(SOL_NETLINK, Linux.NETLINK_CAP_ACK, 1);
  return new NetlinkSocket(libc, libnl, socket, stack.move());
}
