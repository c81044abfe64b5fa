/**
 * Error numbers the kernel answers with: names and texts (include/uapi/asm-generic/errno*.h).
 *
 * @module
 */

/** The numbers that are told apart in this directory. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ERANGE: 34,
  EBADMSG: 74,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  ENOBUFS: 105,
  ETIMEDOUT: 110,
} as const;

const texts: Readonly<Record<keyof typeof Errno, string>> = {
  EPERM: "operation not permitted",
  ENOENT: "no such object",
  ESRCH: "no such virtual service",
  EINTR: "interrupted",
  EIO: "input/output error",
  EAGAIN: "try again",
  ENOMEM: "out of memory",
  EACCES: "permission denied",
  EBUSY: "busy",
  EEXIST: "already exists",
  ENODEV: "no such device",
  EINVAL: "invalid argument",
  ERANGE: "value out of range",
  EBADMSG: "answer not understood",
  EMSGSIZE: "message too long",
  EOPNOTSUPP: "operation not supported",
  EAFNOSUPPORT: "address family not supported",
  ENOBUFS: "answers lost for want of buffer space",
  ETIMEDOUT: "no answer in time",
};

const names = new Map<number, keyof typeof Errno>(
  Object.entries(Errno).map(([name, number]) => [number, name as keyof typeof Errno]),
);

/** `ENOENT` for 2; `errno 77` for one that is not in the table. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** What the number means, in the words of this daemon. */
export function errnoText(errno: number): string {
  const name = names.get(errno);
  return name ? texts[name] : "unexpected error";
}
