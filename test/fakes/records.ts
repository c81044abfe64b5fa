/**
 * Short ways to write DNS records in tests. TTLs are those of avahi unless given.
 *
 * @module
 */
import { parseIp } from "../../src/model/address.ts";
import {
  classIn,
  encodeMessage,
  type MessageParts,
  type RecordData,
  RecordType,
  type ResourceRecord,
} from "../../src/discovery/dns/message.ts";

/** Seconds. */
export const hostTtl = 120;
/** Seconds. */
export const otherTtl = 4500;

function record(
  name: string,
  type: number,
  ttl: number,
  flush: boolean,
  data: RecordData,
): ResourceRecord {
  return { name, type, class: classIn, flush, ttl, data };
}

export function ptr(name: string, target: string, ttl: number = otherTtl): ResourceRecord {
  return record(name, RecordType.PTR, ttl, false, { kind: "pointer", target });
}

export function srv(
  name: string,
  target: string,
  port: number,
  ttl: number = hostTtl,
  priority: number = 0,
  weight: number = 0,
): ResourceRecord {
  const data = { kind: "service", priority, weight, port, target } as const;
  return record(name, RecordType.SRV, ttl, true, data);
}

export function txt(
  name: string,
  strings: readonly string[],
  ttl: number = otherTtl,
): ResourceRecord {
  const bytes = strings.map((string) => new TextEncoder().encode(string));
  return record(name, RecordType.TXT, ttl, true, { kind: "text", strings: bytes });
}

/** An A or AAAA record. */
export function host(name: string, address: string, ttl: number = hostTtl): ResourceRecord {
  const ip = parseIp(address);
  if (!ip) throw new RangeError(`not an address: ${address}`);
  const type = address.includes(":") ? RecordType.AAAA : RecordType.A;
  return record(name, type, ttl, true, { kind: "address", address: ip });
}

/** Only the listed types exist at this name (RFC 6762 6.1). */
export function nsec(
  name: string,
  types: readonly number[],
  ttl: number = hostTtl,
): ResourceRecord {
  return record(name, RecordType.NSEC, ttl, true, { kind: "existing-types", next: name, types });
}

/** The same record as its goodbye. */
export function goodbye(record: ResourceRecord): ResourceRecord {
  return { ...record, ttl: 0 };
}

/** The same record without the cache-flush bit. */
export function shared(record: ResourceRecord): ResourceRecord {
  return { ...record, flush: false };
}

/** A response as responders send it. */
export function response(
  answers: readonly ResourceRecord[],
  more: MessageParts = {},
): Uint8Array {
  return encodeMessage({ response: true, authoritative: true, answers, ...more });
}
