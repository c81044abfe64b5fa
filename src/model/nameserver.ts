/**
 * DNS servers that are asked: parse, format.
 *
 * @module
 */
import { type Ip, parseIp } from "./address.ts";

/** A DNS server. */
export interface Nameserver {
  readonly address: Ip;
  readonly port: number;
  /** Interface name an IPv6 link-local address belongs to (RFC 4007 11); else empty. */
  readonly zone: string;
}

/** Where DNS servers listen unless they say otherwise (RFC 1035 4.2). */
export const defaultDnsPort = 53;

/**
 * Reads `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53` or `[2001:db8::53]:5353`; IPv6 may carry a
 * zone (`fe80::53%eth0`). Undefined for anything else.
 */
export function parseNameserver(text: string): Nameserver | undefined {
  const [, host, digits] = /^\[(.*:.*)\](?::([0-9]{1,5}))?$/.exec(text) ??
    /^([0-9.]+)(?::([0-9]{1,5}))?$/.exec(text) ??
    /^([^[]*:[^[]*:.*)$/.exec(text) ?? [];
  if (host === undefined) return undefined;
  const [, literal, zone = ""] = /^([^%]*)(?:%([^/\s%]{1,15}))?$/.exec(host) ?? [];
  const address = literal === undefined ? undefined : parseIp(literal);
  const port = digits === undefined ? defaultDnsPort : Number(digits);
  if (address === undefined || port < 1 || port > 65535) return undefined;
  return { address, port, zone };
}

/** The text {@link parseNameserver} reads, without the port where it is the usual one. */
export function formatNameserver({ address, port, zone }: Nameserver): string {
  const host = zone === "" ? address : `${address}%${zone}`;
  if (port === defaultDnsPort) return host;
  return address.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
