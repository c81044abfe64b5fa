/**
 * One question to a resolver, and what its answer says (RFC 1035 4.1, RFC 2308, RFC 6891).
 *
 * @module
 */
import {
  classIn,
  encodeMessage,
  type Message,
  type Question,
  RecordType,
  type ResourceRecord,
} from "./message.ts";
import { foldName, splitName } from "./name.ts";

/**
 * UDP payload offered by EDNS: fits every usual path unfragmented, since fragments get lost and can
 * be forged (DNS Flag Day 2020). What is larger comes by TCP.
 */
export const udpPayloadBytes = 1232;

/** A message over TCP has a length of two bytes (RFC 1035 4.2.2). */
export const maxMessageBytes = 65535;

/** Aliases (CNAME) followed for one question; a chain that is longer is taken for a loop. */
export const maxAliases = 8;

const typeNS = 2;
const typeSOA = 6;

const rcodes: ReadonlyMap<number, string> = new Map([
  [1, "FORMERR"],
  [2, "SERVFAIL"],
  [4, "NOTIMP"],
  [5, "REFUSED"],
]);

const typeNames: ReadonlyMap<number, string> = new Map(
  Object.entries(RecordType).map(([name, type]) => [type, name]),
);

/** The question in words: `SRV _http._tcp.example.org`. */
export function describeQuestion(name: string, type: number): string {
  return `${typeNames.get(type) ?? `TYPE${type}`} ${name}`;
}

/** A recursive query. */
export function encodeQuery(id: number, name: string, type: number, edns: boolean): Uint8Array {
  const question: Question = { name, type, class: classIn, unicast: false };
  // RFC 6891 6.1.2: the class of an OPT record is the payload size, its TTL flags.
  const opt: ResourceRecord = {
    name: "",
    type: RecordType.OPT,
    class: udpPayloadBytes,
    flush: false,
    ttl: 0,
    data: { kind: "opaque", bytes: new Uint8Array() },
  };
  const packet = encodeMessage({ id, questions: [question], additionals: edns ? [opt] : [] });
  // Recursion desired: mDNS, which the encoder is for as well, has no such thing.
  packet[2]! |= 0x01;
  return packet;
}

/** True when a message answers this very query; what does not is somebody else's, or forged. */
export function isAnswerTo(message: Message, id: number, name: string, type: number): boolean {
  if (!message.response || message.opcode !== 0 || message.id !== id) return false;
  const [question, ...others] = message.questions;
  // Who does not understand a query may leave the question out.
  if (!question) return message.rcode === 1;
  return others.length === 0 && question.type === type && question.class === classIn &&
    !question.unicast && foldName(question.name) === foldName(name);
}

/** What an answer says. */
export type Verdict =
  /** These are all records of the name, or of the name it is an alias of. */
  | { readonly kind: "records"; readonly records: readonly ResourceRecord[]; readonly ttl: number }
  /** There are none. `ttl` as of RFC 2308 5; undefined: not said. */
  | { readonly kind: "none"; readonly ttl: number | undefined }
  /** It is an alias of a name that must be asked for. */
  | {
    readonly kind: "alias";
    readonly name: string;
    readonly ttl: number;
    readonly aliases: number;
  }
  /** It says nothing about the name. */
  | { readonly kind: "failure"; readonly why: string; readonly withoutEdns: boolean };

/** What a message says about a name. TTLs are in seconds. */
export function judge(message: Message, name: string, type: number): Verdict {
  const opt = message.additionals.find((record) => record.type === RecordType.OPT);
  // RFC 6891 6.1.3: the upper bits of the response code are in the TTL of OPT.
  const rcode = message.rcode | (opt ? opt.ttl >>> 24 << 4 : 0);
  if (rcode !== 0 && rcode !== 3) {
    const why = `says ${rcodes.get(rcode) ?? `error ${rcode}`}`;
    return { kind: "failure", why, withoutEdns: rcode === 1 || rcode === 4 };
  }
  const failure = (why: string) => ({ kind: "failure", why, withoutEdns: false }) as const;
  const answers = message.answers.filter(isOrdinary);
  let owner = foldName(name);
  let ttl = Infinity;
  let aliases = 0;
  let target = name;
  for (;;) {
    const own = answers.filter((record) => foldName(record.name) === owner);
    const records = own.filter((record) => record.type === type);
    if (records.length > 0) {
      for (const record of records) ttl = Math.min(ttl, lifetimeOf(record));
      return { kind: "records", records, ttl };
    }
    const alias = own.find((record) => record.type === RecordType.CNAME);
    if (alias?.data.kind !== "pointer") break;
    if (++aliases > maxAliases) return failure("gives too long a chain of aliases");
    ttl = Math.min(ttl, lifetimeOf(alias));
    target = alias.data.target;
    owner = foldName(target);
  }
  const soa = message.authorities.find((record) => record.type === typeSOA && isOrdinary(record));
  if (soa) {
    const seconds = Math.min(lifetimeOf(soa), negativeLifetime(soa), ttl);
    return { kind: "none", ttl: seconds };
  }
  // An authoritative server does not look for what lies in other zones.
  if (rcode === 0 && aliases > 0) return { kind: "alias", name: target, ttl, aliases };
  const refers = message.authorities.some((record) => record.type === typeNS);
  if (rcode === 0 && refers && !message.authoritative) {
    return failure("only refers to other servers, it must be one that resolves");
  }
  return { kind: "none", ttl: undefined };
}

/**
 * The records that came along with an answer and may be believed, by {@link questionKey}: those of
 * names under the domain that was asked, as `example.org` for `web._http._tcp.example.org`. Of any
 * other name an answer about this domain has nothing to say (RFC 2181 5.4.1).
 */
export function companions(message: Message, name: string): Map<string, ResourceRecord[]> {
  const labels = splitName(foldName(name));
  const domain = labels.slice(labels.findLastIndex((label) => label.startsWith("_")) + 1);
  const sets = new Map<string, ResourceRecord[]>();
  for (const record of message.additionals) {
    if (!isOrdinary(record) || !companionTypes.has(record.type)) continue;
    const owner = splitName(foldName(record.name));
    const parent = owner.slice(Math.max(0, owner.length - domain.length));
    if (domain.length === 0 || parent.join(".") !== domain.join(".")) continue;
    const key = questionKey(foldName(record.name), record.type);
    const set = sets.get(key);
    if (set) set.push(record);
    else sets.set(key, [record]);
  }
  return sets;
}

const companionTypes: ReadonlySet<number> = new Set([
  RecordType.A,
  RecordType.AAAA,
  RecordType.SRV,
  RecordType.TXT,
]);

/** Identifies a question of class IN. */
export function questionKey(foldedName: string, type: number): string {
  return `${type} ${foldedName}`;
}

/** Seconds; a TTL with its top bit set counts as 0 (RFC 2181 8). */
export function lifetimeOf({ ttl }: ResourceRecord): number {
  return ttl > 0x7fffffff ? 0 : ttl;
}

/** The last field of a SOA record, in seconds (RFC 2308 4). */
function negativeLifetime({ data }: ResourceRecord): number {
  if (data.kind !== "opaque" || data.bytes.length < 22) return 0;
  const { buffer, byteOffset, byteLength } = data.bytes;
  return new DataView(buffer, byteOffset, byteLength).getUint32(byteLength - 4);
}

/** Class IN without the bit that only mDNS has. */
function isOrdinary(record: ResourceRecord): boolean {
  return record.class === classIn && !record.flush;
}
