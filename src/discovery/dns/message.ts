/**
 * DNS messages: tolerant decoding, exact encoding (RFC 1035 4, RFC 6762 18).
 *
 * The npm package dns-packet is not used here: it joins labels on "." without escaping, so
 * `Mr. Printer v1.0` never resolves; it discards a whole packet for one malformed TXT, NSEC or OPT
 * record; it cannot set the QU bit and compresses nothing.
 *
 * Decoding is bounded by the packet: a record whose data is malformed is skipped and counted, the
 * rest is kept. Nothing here throws on network input.
 *
 * @module
 */
import { type Ip, ipFromBytes, ipToBytes } from "../../model/address.ts";
import { escapeLabel, labelToBytes, maxLabelBytes, maxNameBytes, splitName } from "./name.ts";

/** Record types by number (RFC 1035 3.2.2, RFC 3596, RFC 2782, RFC 6891, RFC 4034). */
export const RecordType = {
  A: 1,
  CNAME: 5,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  NSEC: 47,
  ANY: 255,
} as const;

/** Class IN; mDNS uses the top bit of a class for "cache-flush" and "unicast response". */
export const classIn = 1;
const classTopBit = 0x8000;

/** Larger mDNS packets are dropped unread: RFC 6762 17 allows no more. */
export const maxPacketBytes = 9000;

/** A question (RFC 1035 4.1.2). */
export interface Question {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** QU: a unicast response is wanted (RFC 6762 5.4). */
  readonly unicast: boolean;
}

/** The data of the records klb understands; any other record is carried as bytes. */
export type RecordData =
  | { readonly kind: "address"; readonly address: Ip }
  | { readonly kind: "pointer"; readonly target: string }
  | {
    readonly kind: "service";
    readonly priority: number;
    readonly weight: number;
    readonly port: number;
    readonly target: string;
  }
  | { readonly kind: "text"; readonly strings: readonly Uint8Array[] }
  | {
    readonly kind: "existing-types";
    readonly next: string;
    /** Types that exist at this name; every other one does not (RFC 6762 6.1). */
    readonly types: readonly number[];
  }
  | { readonly kind: "opaque"; readonly bytes: Uint8Array };

/** A resource record (RFC 1035 4.1.3). */
export interface ResourceRecord {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** The cache-flush bit (RFC 6762 10.2). */
  readonly flush: boolean;
  /** Seconds; 0 is a goodbye (RFC 6762 10.1). */
  readonly ttl: number;
  readonly data: RecordData;
}

/** A decoded message. */
export interface Message {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  /** Questions and records that were malformed and left out. */
  readonly skipped: number;
}

/** Reads a message; undefined when not even a header is there or it is too large to be one. */
export function decodeMessage(
  packet: Uint8Array,
  maxBytes: number = maxPacketBytes,
): Message | undefined {
  if (packet.length < 12 || packet.length > maxBytes) return undefined;
  return new Decoder(packet).message();
}

/** Thrown and caught inside this file only: one record is malformed. Collects no stack: it is usual. */
class Malformed {}

interface ReadName {
  readonly text: string;
  /** Length on the wire without compression. */
  readonly bytes: number;
  /** Offset of what follows. */
  readonly next: number;
}

class Decoder {
  readonly #packet: Uint8Array;
  readonly #view: DataView;
  #offset = 0;
  #skipped = 0;
  /**
   * Names that pointers led to, null where malformed. Many point to the same, and reading that each
   * time anew would cost 20 ms for a packet made for it.
   */
  readonly #pointedAt = new Map<number, ReadName | null>();

  constructor(packet: Uint8Array) {
    this.#packet = packet;
    this.#view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  }

  message(): Message {
    const flags = this.#view.getUint16(2);
    const counts = [4, 6, 8, 10].map((offset) => this.#view.getUint16(offset));
    this.#offset = 12;
    const questions = this.#section(counts[0]!, () => this.#question());
    const answers = this.#section(counts[1]!, () => this.#record());
    const authorities = this.#section(counts[2]!, () => this.#record());
    const additionals = this.#section(counts[3]!, () => this.#record());
    return {
      id: this.#view.getUint16(0),
      response: (flags & 0x8000) !== 0,
      opcode: flags >> 11 & 0xf,
      authoritative: (flags & 0x0400) !== 0,
      truncated: (flags & 0x0200) !== 0,
      rcode: flags & 0xf,
      questions,
      answers,
      authorities,
      additionals,
      skipped: this.#skipped,
    };
  }

  /** Reads `count` items; where the end of one cannot be found, the rest of the packet is lost. */
  #section<T>(count: number, read: () => T | undefined): T[] {
    const items: T[] = [];
    for (let i = 0; i < count; i++) {
      try {
        const item = read();
        if (item === undefined) this.#skipped++;
        else items.push(item);
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        this.#skipped++;
        this.#offset = this.#packet.length;
        break;
      }
    }
    return items;
  }

  #question(): Question {
    const name = this.#name(this.#packet.length);
    this.#need(4, this.#packet.length);
    const type = this.#u16();
    const bits = this.#u16();
    return { name, type, class: bits & ~classTopBit, unicast: (bits & classTopBit) !== 0 };
  }

  #record(): ResourceRecord | undefined {
    const name = this.#name(this.#packet.length);
    this.#need(10, this.#packet.length);
    const type = this.#u16();
    const bits = this.#u16();
    const ttl = this.#view.getUint32(this.#offset);
    this.#offset += 4;
    const length = this.#u16();
    this.#need(length, this.#packet.length);
    const end = this.#offset + length;
    let data: RecordData | undefined;
    try {
      data = this.#data(type, end);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
    }
    // Whatever the data held, the next record starts where the length says.
    this.#offset = end;
    if (!data) return undefined;
    // OPT uses the class field for a size (RFC 6891 6.1.2), so it has no flush bit.
    if (type === RecordType.OPT) return { name, type, class: bits, flush: false, ttl, data };
    return { name, type, class: bits & ~classTopBit, flush: (bits & classTopBit) !== 0, ttl, data };
  }

  #data(type: number, end: number): RecordData {
    const length = end - this.#offset;
    switch (type) {
      case RecordType.A:
      case RecordType.AAAA:
        if (length !== (type === RecordType.A ? 4 : 16)) throw new Malformed();
        return { kind: "address", address: ipFromBytes(this.#packet.subarray(this.#offset, end)) };
      case RecordType.CNAME:
      case RecordType.PTR: {
        const target = this.#name(end);
        this.#mustEnd(end);
        return { kind: "pointer", target };
      }
      case RecordType.SRV: {
        this.#need(6, end);
        const priority = this.#u16();
        const weight = this.#u16();
        const port = this.#u16();
        // Compression is forbidden by RFC 2782 and used by mDNS responders (RFC 6762 18.14).
        const target = this.#name(end);
        this.#mustEnd(end);
        return { kind: "service", priority, weight, port, target };
      }
      case RecordType.TXT: {
        const strings: Uint8Array[] = [];
        while (this.#offset < end) {
          const size = this.#packet[this.#offset++]!;
          this.#need(size, end);
          strings.push(this.#packet.slice(this.#offset, this.#offset + size));
          this.#offset += size;
        }
        return { kind: "text", strings };
      }
      case RecordType.NSEC: {
        const next = this.#name(end);
        return { kind: "existing-types", next, types: this.#typeBitmap(end) };
      }
      default:
        return { kind: "opaque", bytes: this.#packet.slice(this.#offset, end) };
    }
  }

  /** RFC 4034 4.1.2. */
  #typeBitmap(end: number): number[] {
    const types: number[] = [];
    let previous = -1;
    while (this.#offset < end) {
      this.#need(2, end);
      const window = this.#packet[this.#offset++]!;
      const size = this.#packet[this.#offset++]!;
      if (size < 1 || size > 32 || window <= previous) throw new Malformed();
      this.#need(size, end);
      for (let i = 0; i < size; i++) {
        const byte = this.#packet[this.#offset++]!;
        for (let bit = 0; bit < 8; bit++) {
          if (byte & 0x80 >> bit) types.push(window << 8 | i << 3 | bit);
        }
      }
      previous = window;
    }
    return types;
  }

  #name(end: number): string {
    const { text, next } = this.#readName(this.#offset, end, 0);
    this.#offset = next;
    return text;
  }

  /**
   * A name that may end in a pointer (RFC 1035 4.1.4). Pointers must lead backwards, which rules
   * out loops; no more of them may follow each other than a name can have labels, and what one
   * leads to is read once. That bounds the work by the size of the packet.
   */
  #readName(start: number, limit: number, hops: number): ReadName {
    const packet = this.#packet;
    let offset = start;
    let text = "";
    let bytes = 1;
    for (;;) {
      if (offset >= limit) throw new Malformed();
      const length = packet[offset]!;
      if (length === 0) return { text, bytes, next: offset + 1 };
      if (length >= 0xc0) {
        if (offset + 2 > limit) throw new Malformed();
        const target = (length & 0x3f) << 8 | packet[offset + 1]!;
        if (target >= offset || target < 12 || hops === maxNameBytes >> 1) throw new Malformed();
        const rest = this.#readPointedAt(target, offset, hops + 1);
        bytes += rest.bytes - 1;
        if (bytes > maxNameBytes) throw new Malformed();
        if (text !== "" && rest.text !== "") text += ".";
        return { text: text + rest.text, bytes, next: offset + 2 };
      }
      bytes += length + 1;
      if (length > maxLabelBytes || offset + 1 + length > limit || bytes > maxNameBytes) {
        throw new Malformed();
      }
      const label = escapeLabel(packet.subarray(offset + 1, offset + 1 + length));
      text = text === "" ? label : text + "." + label;
      offset += 1 + length;
    }
  }

  /** What is pointed at lies before the pointer, at `limit`, and may not run into it. */
  #readPointedAt(target: number, limit: number, hops: number): ReadName {
    const known = this.#pointedAt.get(target);
    if (known) return known;
    if (known === null) throw new Malformed();
    this.#pointedAt.set(target, null);
    const name = this.#readName(target, limit, hops);
    this.#pointedAt.set(target, name);
    return name;
  }

  #u16(): number {
    const value = this.#view.getUint16(this.#offset);
    this.#offset += 2;
    return value;
  }

  #need(bytes: number, end: number): void {
    if (this.#offset + bytes > end) throw new Malformed();
  }

  #mustEnd(end: number): void {
    if (this.#offset !== end) throw new Malformed();
  }
}

/** What an encoder may be asked to write: everything of a {@link Message} is optional. */
export type MessageParts = Partial<Omit<Message, "skipped">>;

/**
 * Writes a message with compressed names.
 *
 * @throws {RangeError} when a name cannot be encoded (a label over 63 bytes, a name over 255) or
 * the message exceeds 65,535 bytes.
 */
export function encodeMessage(parts: MessageParts): Uint8Array {
  const encoder = new MessageEncoder(65535);
  encoder.setFlags(parts);
  for (const question of parts.questions ?? []) encoder.question(question);
  for (const record of parts.answers ?? []) encoder.record(record, "answers");
  for (const record of parts.authorities ?? []) encoder.record(record, "authorities");
  for (const record of parts.additionals ?? []) encoder.record(record, "additionals");
  return encoder.finish();
}

type Section = "questions" | "answers" | "authorities" | "additionals";
const sectionOffset = { questions: 4, answers: 6, authorities: 8, additionals: 10 } as const;

/**
 * Writes one message up to a size. Each `question` and `record` is added whole or, with `false`
 * returned, not at all: what does not fit goes into the next packet.
 */
export class MessageEncoder {
  readonly #limit: number;
  #bytes = new Uint8Array(512);
  #view = new DataView(this.#bytes.buffer);
  #length = 12;
  /**
   * Suffix -> offset, for compression. Letters in the other case are not taken for the same, as
   * they might be (RFC 1035 2.3.3): a name arrives as it was written.
   */
  #suffixes = new Map<string, number>();
  readonly #counts = { questions: 0, answers: 0, authorities: 0, additionals: 0 };

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Sets id and flag bits; what is absent is 0. */
  setFlags(parts: MessageParts): void {
    this.#view.setUint16(0, parts.id ?? 0);
    this.#view.setUint16(
      2,
      (parts.response ? 0x8000 : 0) | (parts.opcode ?? 0) << 11 |
        (parts.authoritative ? 0x0400 : 0) | (parts.truncated ? 0x0200 : 0) | (parts.rcode ?? 0),
    );
  }

  /** Marks the message as continued in the next one (TC, RFC 6762 7.2). */
  setTruncated(): void {
    this.#view.setUint16(2, this.#view.getUint16(2) | 0x0200);
  }

  /** True while nothing has been added. */
  get empty(): boolean {
    return this.#length === 12;
  }

  question(question: Question): boolean {
    return this.#whole("questions", () => {
      this.#name(question.name);
      this.#u16(question.type);
      this.#u16(question.class | (question.unicast ? classTopBit : 0));
    });
  }

  record(record: ResourceRecord, section: Exclude<Section, "questions">): boolean {
    return this.#whole(section, () => {
      this.#name(record.name);
      this.#u16(record.type);
      this.#u16(record.class | (record.flush ? classTopBit : 0));
      this.#reserve(6);
      this.#view.setUint32(this.#length, record.ttl);
      this.#length += 6;
      const start = this.#length;
      this.#data(record.data);
      this.#view.setUint16(start - 2, this.#length - start);
    });
  }

  /** The packet. */
  finish(): Uint8Array {
    for (const section of Object.keys(sectionOffset) as Section[]) {
      this.#view.setUint16(sectionOffset[section], this.#counts[section]);
    }
    return this.#bytes.slice(0, this.#length);
  }

  #whole(section: Section, write: () => void): boolean {
    const before = this.#length;
    write();
    if (this.#length > this.#limit || this.#counts[section] === 0xffff) {
      if (before === 12) {
        throw new RangeError(`one item of ${this.#length - before} bytes exceeds ${this.#limit}`);
      }
      this.#length = before;
      for (const [suffix, offset] of this.#suffixes) {
        if (offset >= before) this.#suffixes.delete(suffix);
      }
      return false;
    }
    this.#counts[section]++;
    return true;
  }

  #data(data: RecordData): void {
    switch (data.kind) {
      case "opaque":
        return this.#raw(data.bytes);
      case "address":
        return this.#raw(ipToBytes(data.address));
      case "pointer":
        return this.#name(data.target);
      case "service":
        this.#u16(data.priority);
        this.#u16(data.weight);
        this.#u16(data.port);
        return this.#name(data.target);
      case "text":
        // A TXT record holds at least one string (RFC 1035 3.3.14).
        for (const string of data.strings.length > 0 ? data.strings : [new Uint8Array()]) {
          if (string.length > 255) throw new RangeError("a TXT string has at most 255 bytes");
          this.#raw(Uint8Array.of(string.length));
          this.#raw(string);
        }
        return;
      case "existing-types":
        this.#name(data.next);
        return this.#typeBitmap(data.types);
    }
  }

  #typeBitmap(types: readonly number[]): void {
    const windows = new Map<number, Uint8Array>();
    for (const type of types) {
      const bitmap = windows.get(type >> 8) ?? new Uint8Array(32);
      bitmap[(type & 0xff) >> 3]! |= 0x80 >> (type & 7);
      windows.set(type >> 8, bitmap);
    }
    for (const [window, bitmap] of [...windows].sort(([a], [b]) => a - b)) {
      const size = bitmap.findLastIndex((byte) => byte !== 0) + 1;
      this.#raw(Uint8Array.of(window, size));
      this.#raw(bitmap.subarray(0, size));
    }
  }

  #name(name: string): void {
    const labels = splitName(name);
    let bytes = 1;
    let suffix = name;
    for (const label of labels) {
      const known = this.#suffixes.get(suffix);
      if (known !== undefined) {
        this.#u16(0xc000 | known);
        return;
      }
      if (this.#length < 0x4000) this.#suffixes.set(suffix, this.#length);
      const encoded = labelToBytes(label);
      if (encoded.length === 0 || encoded.length > maxLabelBytes) {
        throw new RangeError(`a label has 1 to ${maxLabelBytes} bytes: ${name}`);
      }
      bytes += encoded.length + 1;
      if (bytes > maxNameBytes) {
        throw new RangeError(`a name has at most ${maxNameBytes} bytes: ${name}`);
      }
      this.#raw(Uint8Array.of(encoded.length));
      this.#raw(encoded);
      suffix = suffix.slice(label.length + 1);
    }
    this.#raw(Uint8Array.of(0));
  }

  #u16(value: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.#length, value);
    this.#length += 2;
  }

  #raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + bytes));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
