/**
 * Just enough of the DNS message format for the witness to say what was announced.
 *
 * @module
 */

/** A question. */
export interface MdnsQuestion {
  readonly name: string;
  readonly type: string;
}

/** A resource record of any section behind the questions. */
export interface MdnsRecord {
  readonly name: string;
  readonly type: string;
  readonly ttl: number;
  /** The target of PTR, `host:port` of SRV; empty for others. */
  readonly data: string;
}

/** A message. */
export interface MdnsMessage {
  readonly response: boolean;
  readonly questions: readonly MdnsQuestion[];
  readonly records: readonly MdnsRecord[];
}

const types: Readonly<Record<number, string>> = {
  1: "A",
  12: "PTR",
  16: "TXT",
  28: "AAAA",
  33: "SRV",
  41: "OPT",
  47: "NSEC",
  255: "ANY",
};

/**
 * Decodes a message. Dots and backslashes within a label are escaped with a backslash.
 *
 * @throws {RangeError} when it is cut short or its names run in circles.
 */
export function decodeMdns(bytes: Uint8Array): MdnsMessage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 12;

  function name(): string {
    const labels: string[] = [];
    let position = at;
    let end: number | undefined;
    for (let jumps = 0;;) {
      const length = view.getUint8(position);
      if (length >= 0xc0) {
        end ??= position + 2;
        position = view.getUint16(position) & 0x3fff;
        if (++jumps > 64) throw new RangeError("a name runs in circles");
      } else if (length === 0) {
        at = end ?? position + 1;
        return labels.join(".");
      } else {
        if (position + 1 + length > bytes.length) throw new RangeError("a label is cut short");
        const label = new TextDecoder().decode(bytes.subarray(position + 1, position + 1 + length));
        labels.push(label.replace(/[.\\]/g, "\\$&"));
        position += 1 + length;
      }
    }
  }

  function u16(): number {
    at += 2;
    return view.getUint16(at - 2);
  }

  const questions: MdnsQuestion[] = [];
  const records: MdnsRecord[] = [];
  for (let left = view.getUint16(4); left > 0; left--) {
    questions.push({ name: name(), type: typeName(u16()) });
    at += 2;
  }
  for (let left = view.getUint16(6) + view.getUint16(8) + view.getUint16(10); left > 0; left--) {
    const owner = name();
    const type = typeName(u16());
    at += 2;
    const ttl = view.getUint32(at);
    at += 4;
    const end = at + 2 + u16();
    let data = "";
    if (type === "PTR") data = name();
    if (type === "SRV") {
      at += 4;
      const port = u16();
      data = `${name()}:${port}`;
    }
    at = end;
    records.push({ name: owner, type, ttl, data });
  }
  return { response: (view.getUint8(2) & 0x80) !== 0, questions, records };
}

function typeName(code: number): string {
  return types[code] ?? `TYPE${code}`;
}
