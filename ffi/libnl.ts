/**
 * libnl-3 and libnl-genl-3: the functions by which a generic netlink socket is opened, sends and
 * receives. Messages are made and read in TypeScript, not by libnl.
 *
 * @module
 */

const coreDefinitions = {
  nl_socket_alloc: { parameters: [], result: "pointer" },
  nl_socket_free: { parameters: ["pointer"], result: "void" },
  nl_socket_get_fd: { parameters: ["pointer"], result: "i32" },
  nl_socket_disable_auto_ack: { parameters: ["pointer"], result: "void" },
  nl_socket_disable_seq_check: { parameters: ["pointer"], result: "void" },
  nl_socket_set_nonblocking: { parameters: ["pointer"], result: "i32" },
  /** usize as bigint: a number is six times slower. */
  nl_socket_set_msg_buf_size: { parameters: ["pointer", "usize"], result: "i32" },
  nl_sendto: { parameters: ["pointer", "buffer", "usize"], result: "i32" },
  /** The same on another thread: for datagrams that the kernel may be busy with for long. */
  nl_sendto_elsewhere: {
    name: "nl_sendto",
    parameters: ["pointer", "buffer", "usize"],
    result: "i32",
    nonblocking: true,
  },
  /** Socket, struct sockaddr_nl to fill, unsigned char * to fill, credentials or null. */
  nl_recv: { parameters: ["pointer", "buffer", "buffer", "pointer"], result: "i32" },
  nl_geterror: { parameters: ["i32"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

const genericDefinitions = {
  genl_connect: { parameters: ["pointer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The two libraries, open until disposed. */
export interface Libnl extends Disposable {
  readonly core: Deno.StaticForeignLibraryInterface<typeof coreDefinitions>;
  readonly generic: Deno.StaticForeignLibraryInterface<typeof genericDefinitions>;
}

/** NLE_* numbers of netlink/errno.h that are told apart here; functions return them negated. */
export const NlError = {
  AGAIN: 4,
  NOMEM: 5,
  PERM: 28,
} as const;

/** libnl is not there, or cannot be used. */
export class LibraryError extends Error {
  override name = "LibraryError";
}

/**
 * Opens both libraries.
 *
 * @param directory where to look for them instead of where the system's loader does.
 * @throws {LibraryError} where one is missing, with what to install.
 * @throws {Deno.errors.NotCapable} without `--allow-ffi`.
 */
export function openLibnl(directory?: string): Libnl {
  using stack = new DisposableStack();
  const open = <const S extends Deno.ForeignLibraryInterface>(name: string, symbols: S) => {
    try {
      const library = Deno.dlopen(directory ? `${directory}/${name}` : name, symbols);
      stack.defer(() => library.close());
      return library.symbols;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw new LibraryError(
        `cannot open ${name}: install libnl-3-200 and libnl-genl-3-200 ` +
          "(apt-get install libnl-3-200 libnl-genl-3-200)",
        { cause: error },
      );
    }
  };
  // In this order: libnl-genl needs libnl, and finds the one that is open already.
  const core = open("libnl-3.so.200", coreDefinitions);
  const generic = open("libnl-genl-3.so.200", genericDefinitions);
  const opened = stack.move();
  return { core, generic, [Symbol.dispose]: () => opened.dispose() };
}
