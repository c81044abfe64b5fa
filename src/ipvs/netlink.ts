/**
 * Netlink messages and attributes (include/uapi/linux/netlink.h): writing them into one buffer,
 * walking over received ones.
 *
 * Netlink is in host order. Deno runs on little-endian machines only (x86-64, arm64), so that order
 * is written here; whoever opens a socket checks it.
 *
 * @module
 */

/** `nlmsg_type` of the messages that belong to no protocol. */
export const MessageType = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

/** `nlmsg_flags`. */
export const MessageFlag = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  /** On a dump: the table changed meanwhile. IPVS never sets it. */
  dumpInterrupted: 0x10,
  /** NLM_F_ROOT and NLM_F_MATCH. */
  dump: 0x300,
  /** On an error: the request is not repeated behind it. */
  capped: 0x100,
  /** On an error: attributes follow. */
  ackAttributes: 0x200,
} as const;

const headerLength = 16;
const attributeHeaderLength = 4;
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER, which newer kernels may set on a type. */
const attributeTypeMask = 0x3fff;

/** A received datagram is not what the kernel's format allows. */
export class DecodeError extends Error {
  override name = "DecodeError";
}

/** Rounds up to the four bytes messages and attributes are aligned to. */
function align(length: number): number {
  return (length + 3) & ~3;
}

/** Bytes of the fixed-size attributes of one message, at most. */
const messageReserve = 512;

/**
 * Writes messages one behind the other into one buffer that grows when it must. Nothing is allocated
 * per message or attribute, and everything but names is written by words of four bytes: a daemon
 * that starts writes its whole table with code no compiler has seen yet, where each call counts.
 */
export class MessageWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #words: Uint32Array<ArrayBuffer>;
  /** Where the message begun last begins, and where the next word goes, in words. */
  #message = 0;
  #at = 0;

  /** @param capacity bytes to begin with. */
  constructor(capacity = 4096) {
    this.#words = new Uint32Array(align(capacity) >> 2);
    this.#bytes = new Uint8Array(this.#words.buffer);
  }

  /** Number of bytes written. */
  get length(): number {
    return this.#at << 2;
  }

  /** What was written: a view, right until the next write. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#at << 2);
  }

  /** Makes room for so many bytes in all at once, instead of growing bit by bit. */
  reserve(bytes: number): void {
    this.#reserve(bytes - this.length);
  }

  /** Drops everything behind the message that begins at `length`, by default everything. */
  reset(length = 0): void {
    this.#at = length >> 2;
  }

  /** Begins a message; {@link endMessage} completes its length. */
  beginMessage(type: number, flags: number, sequence: number): void {
    this.#reserve(messageReserve);
    const at = this.#message = this.#at;
    const words = this.#words;
    words[at + 1] = type | flags << 16;
    words[at + 2] = sequence;
    // nlmsg_pid 0: the kernel knows the sender.
    words[at + 3] = 0;
    this.#at = at + 4;
  }

  /** Completes the message begun last. */
  endMessage(): void {
    const { length } = this;
    if (length > this.#bytes.length) throw new RangeError("more attributes than were foreseen");
    // A wrong length would make the kernel drop the rest of the datagram without a word.
    this.#words[this.#message] = length - (this.#message << 2);
  }

  /** Adds flags to the message that begins at `message`. */
  addFlags(message: number, flags: number): void {
    this.#words[(message >> 2) + 1]! |= flags << 16;
  }

  /** struct genlmsghdr, the first thing in a generic netlink message. */
  genericHeader(command: number, version: number): void {
    this.#words[this.#at++] = command | version << 8;
  }

  /** Begins an attribute that holds others; what it returns goes to {@link endNested}. */
  beginNested(type: number): number {
    this.#words[this.#at] = type << 16;
    return this.#at++;
  }

  /** Completes the attribute that began there. */
  endNested(begin: number): void {
    const length = (this.#at - begin) << 2;
    if (length > 0xffff) throw new RangeError(`attribute of ${length} bytes`);
    this.#words[begin]! |= length;
  }

  u8(type: number, value: number): void {
    const at = this.#at;
    const words = this.#words;
    words[at] = 5 | type << 16;
    words[at + 1] = value & 0xff;
    this.#at = at + 2;
  }

  u16(type: number, value: number): void {
    const at = this.#at;
    const words = this.#words;
    words[at] = 6 | type << 16;
    words[at + 1] = value & 0xffff;
    this.#at = at + 2;
  }

  /** In network order. */
  u16be(type: number, value: number): void {
    const at = this.#at;
    const words = this.#words;
    words[at] = 6 | type << 16;
    words[at + 1] = (value & 0xff) << 8 | value >> 8 & 0xff;
    this.#at = at + 2;
  }

  u32(type: number, value: number): void {
    const at = this.#at;
    const words = this.#words;
    words[at] = 8 | type << 16;
    words[at + 1] = value;
    this.#at = at + 2;
  }

  /** In network order. */
  u32be(type: number, value: number): void {
    const at = this.#at;
    const words = this.#words;
    words[at] = 8 | type << 16;
    words[at + 1] = value << 24 | (value & 0xff00) << 8 | value >> 8 & 0xff00 |
      value >>> 24;
    this.#at = at + 2;
  }

  /** Two u32 in one attribute. */
  u32pair(type: number, first: number, second: number): void {
    const at = this.#at;
    const words = this.#words;
    words[at] = 12 | type << 16;
    words[at + 1] = first;
    words[at + 2] = second;
    this.#at = at + 3;
  }

  /** Bytes, at most 64 of them. */
  binary(type: number, value: Uint8Array): void {
    const { length } = value;
    if (length > 64) throw new RangeError(`attribute of ${length} bytes`);
    const start = this.#attribute(type, length);
    this.#bytes.set(value, start);
  }

  /**
   * A name with its terminating NUL.
   *
   * @throws {RangeError} for anything but ASCII: the names of the kernel's objects are nothing else.
   */
  text(type: number, value: string): void {
    const { length } = value;
    if (length > 0xff) throw new RangeError(`name of ${length} characters`);
    this.#reserve(messageReserve + align(length + 1));
    const start = this.#attribute(type, length + 1);
    const bytes = this.#bytes;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f || code === 0) throw new RangeError(`not a plain name: ${value}`);
      bytes[start + i] = code;
    }
    bytes[start + length] = 0;
  }

  /** Copies whole attributes that were written before, in this buffer. */
  repeat(from: number, to: number): void {
    this.#words.copyWithin(this.#at, from >> 2, to >> 2);
    this.#at += (to - from) >> 2;
  }

  /** Writes an attribute's header, zeroes its padding; returns the byte where its value goes. */
  #attribute(type: number, length: number): number {
    const at = this.#at;
    const total = attributeHeaderLength + length;
    const end = at + (align(total) >> 2);
    this.#words[end - 1] = 0;
    this.#words[at] = total | type << 16;
    this.#at = end;
    return (at << 2) + attributeHeaderLength;
  }

  #reserve(more: number): void {
    const needed = (this.#at << 2) + more;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint32Array(align(Math.max(this.#bytes.length * 2, needed)) >> 2);
    grown.set(this.#words.subarray(0, this.#at));
    this.#words = grown;
    this.#bytes = new Uint8Array(grown.buffer);
  }
}

/**
 * Walks over the messages of a datagram:
 *
 *     const message = new MessageReader(datagram);
 *     while (message.next()) ... message.type, message.payload, message.end
 */
export class MessageReader {
  readonly view: DataView;
  type = 0;
  flags = 0;
  sequence = 0;
  /** Where the message begins, behind its header, and where it ends, in the view. */
  payload = 0;
  end = 0;
  #next = 0;

  constructor(datagram: Uint8Array) {
    this.view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  }

  /**
   * Steps to the next message; false behind the last.
   *
   * @throws {DecodeError} for a length that cannot be.
   */
  next(): boolean {
    const { view } = this;
    const at = this.#next;
    if (at >= view.byteLength) return false;
    if (at + headerLength > view.byteLength) throw new DecodeError("message header cut off");
    const length = view.getUint32(at, true);
    if (length < headerLength || length > view.byteLength - at) {
      throw new DecodeError(`message length ${length} in ${view.byteLength - at} bytes`);
    }
    this.type = view.getUint16(at + 4, true);
    this.flags = view.getUint16(at + 6, true);
    this.sequence = view.getUint32(at + 8, true);
    this.payload = at + headerLength;
    this.end = at + length;
    this.#next = at + align(length);
    return true;
  }
}

/** Walks over the attributes between two places, in the manner of {@link MessageReader}. */
export class AttributeReader {
  readonly view: DataView;
  type = 0;
  /** Where the value begins and ends. */
  start = 0;
  end = 0;
  #next: number;
  readonly #limit: number;

  constructor(view: DataView, start: number, end: number) {
    this.view = view;
    this.#next = start;
    this.#limit = end;
  }

  /**
   * Steps to the next attribute; false behind the last. Fewer than four bytes at the end are padding.
   *
   * @throws {DecodeError} for a length that cannot be.
   */
  next(): boolean {
    const at = this.#next;
    if (at + attributeHeaderLength > this.#limit) return false;
    const length = this.view.getUint16(at, true);
    if (length < attributeHeaderLength || length > this.#limit - at) {
      throw new DecodeError(`attribute length ${length} in ${this.#limit - at} bytes`);
    }
    this.type = this.view.getUint16(at + 2, true) & attributeTypeMask;
    this.start = at + attributeHeaderLength;
    this.end = at + length;
    this.#next = at + align(length);
    return true;
  }

  /**
   * The value as a number: its first four bytes, or all of a shorter one. A newer kernel may widen an
   * attribute.
   */
  uint(): number {
    const { view, start, end } = this;
    switch (end - start) {
      case 0:
        return 0;
      case 1:
        return view.getUint8(start);
      case 2:
        return view.getUint16(start, true);
      case 3:
        return view.getUint16(start, true) | view.getUint8(start + 2) << 16;
      default:
        return view.getUint32(start, true);
    }
  }

  /** The value's first two bytes in network order; 0 where there are fewer. */
  u16be(): number {
    return this.end - this.start < 2 ? 0 : this.view.getUint16(this.start, false);
  }

  /** The value's first four bytes in network order; 0 where there are fewer. */
  u32be(): number {
    return this.end - this.start < 4 ? 0 : this.view.getUint32(this.start, false);
  }

  /** The value up to its first NUL as text. */
  text(): string {
    const bytes = this.bytes();
    const end = bytes.indexOf(0);
    // Names are short and plain; a TextDecoder costs several times the loop.
    let text = "";
    const length = end < 0 ? bytes.length : end;
    for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[i]!);
    return text;
  }

  /** The value's bytes: a view. */
  bytes(): Uint8Array {
    const { view, start, end } = this;
    return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + start, end - start);
  }
}

/** What an error message, or the end of a dump, says besides its number. */
export interface ExtendedAck {
  /** The kernel's words, or empty. */
  readonly message: string;
  /** Where in the request the rejected attribute is, from its header on; -1 where none is named. */
  readonly offset: number;
}

/** The kernel's answer to one request: errno 0 acknowledges it. */
export interface Acknowledgement {
  readonly errno: number;
  readonly extendedAck: ExtendedAck | undefined;
}

/** NLMSGERR_ATTR_*. */
const ErrorAttribute = { message: 1, offset: 2 } as const;

/**
 * Decodes the NLMSG_ERROR or NLMSG_DONE message the reader stands at (struct nlmsgerr).
 *
 * @throws {DecodeError} when it is cut off. Extended acknowledgements that cannot be read are left out.
 */
export function decodeAcknowledgement(message: MessageReader): Acknowledgement {
  const { view, payload, end, flags } = message;
  if (end - payload < 4) {
    // A NLMSG_DONE without a number, as other families send, ends a dump well.
    if (message.type === MessageType.done) return { errno: 0, extendedAck: undefined };
    throw new DecodeError("error message cut off");
  }
  const errno = Math.abs(view.getInt32(payload, true));
  if ((flags & MessageFlag.ackAttributes) === 0) return { errno, extendedAck: undefined };
  let at = payload + 4;
  if (message.type === MessageType.error) {
    if (end - at < headerLength) throw new DecodeError("error message cut off");
    // The request's header, and the whole request where it is not capped.
    const request = (flags & MessageFlag.capped) !== 0 ? headerLength : view.getUint32(at, true);
    if (request < headerLength || request > end - at) return { errno, extendedAck: undefined };
    at += align(request);
  }
  let text = "";
  let offset = -1;
  const attribute = new AttributeReader(view, at, end);
  while (attribute.next()) {
    if (attribute.type === ErrorAttribute.message) text = attribute.text();
    else if (attribute.type === ErrorAttribute.offset) offset = attribute.uint();
  }
  return { errno, extendedAck: text || offset >= 0 ? { message: text, offset } : undefined };
}
