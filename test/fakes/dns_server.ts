/**
 * A DNS server of one zone without sockets: query bytes in, answer bytes out.
 *
 * @module
 */
import {
  classIn,
  decodeMessage,
  encodeMessage,
  type MessageParts,
  RecordType,
  type ResourceRecord,
} from "../../src/discovery/dns/message.ts";
import { foldName } from "../../src/discovery/dns/name.ts";

const typeSOA = 6;

/** An alias. */
export function cname(name: string, target: string, ttl: number = 120): ResourceRecord {
  const data = { kind: "pointer", target } as const;
  return { name, type: RecordType.CNAME, class: classIn, flush: false, ttl, data };
}

/** What ends a negative answer; `minimum` is in seconds (RFC 2308 4). */
export function soa(zone: string, minimum: number, ttl: number = minimum): ResourceRecord {
  // Two root names, then serial, refresh, retry, expire, minimum.
  const bytes = new Uint8Array(22);
  new DataView(bytes.buffer).setUint32(18, minimum);
  const data = { kind: "opaque", bytes } as const;
  return { name: zone, type: typeSOA, class: classIn, flush: false, ttl, data };
}

/** See the module. */
export class FakeDnsServer {
  /** The cache-flush bits that the makers of test records set are left out. */
  records: ResourceRecord[] = [];
  /** Sent along with every answer that has records. */
  additionals: ResourceRecord[] = [];
  /** Seconds for which "there is none" is good; undefined: no SOA record. */
  negative: number | undefined = 60;
  /** 0: it answers; else it gives this error to every query. */
  rcode = 0;
  silent = false;
  /** UDP answers are cut at this size. */
  udpLimit = 1232;
  understandsEdns = true;
  /** The last chance to falsify an answer. */
  tamper: (answer: Uint8Array) => Uint8Array | undefined = (answer) => answer;
  /** Every question it got: `udp A w1.example.org`. */
  readonly asked: string[] = [];

  /** The answer, if it gives one. */
  answer(query: Uint8Array, protocol: "udp" | "tcp"): Uint8Array | undefined {
    const { id, questions, additionals } = decodeMessage(query)!;
    const [question] = questions;
    const type = Object.entries(RecordType).find(([, type]) => type === question!.type)![0];
    this.asked.push(`${protocol} ${type} ${question!.name}`);
    if (this.silent) return undefined;
    const head: MessageParts = { id, response: true, authoritative: true, questions };
    if (!this.understandsEdns && additionals.length > 0) {
      return this.tamper(encodeMessage({ id, response: true, rcode: 1 }));
    }
    if (this.rcode !== 0) return this.tamper(encodeMessage({ ...head, rcode: this.rcode }));
    const answers: ResourceRecord[] = [];
    let owner = foldName(question!.name);
    while (answers.length < 20) {
      const own = this.records.filter(({ name }) => foldName(name) === owner);
      const found = own.filter(({ type }) => type === question!.type);
      answers.push(...found);
      const alias = found.length > 0
        ? undefined
        : own.find(({ type }) => type === RecordType.CNAME);
      if (alias?.data.kind !== "pointer") break;
      answers.push(alias);
      owner = foldName(alias.data.target);
    }
    const exists = answers.length > 0 || this.records.some(({ name }) => foldName(name) === owner);
    const parts: MessageParts = {
      ...head,
      rcode: exists ? 0 : 3,
      answers: answers.map(plain),
      authorities: this.negative !== undefined && !answers.some((r) => r.type === question!.type)
        ? [soa("example.org", this.negative)]
        : [],
      additionals: answers.length > 0 ? this.additionals.map(plain) : [],
    };
    const whole = encodeMessage(parts);
    return this.tamper(
      protocol === "udp" && whole.length > this.udpLimit
        ? encodeMessage({ ...head, truncated: true })
        : whole,
    );
  }
}

function plain(record: ResourceRecord): ResourceRecord {
  return { ...record, flush: false };
}
