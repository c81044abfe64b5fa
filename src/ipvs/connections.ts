/**
 * Which connections of a destination have ended, from `/proc/net/ip_vs_conn`.
 *
 * The kernel's counters do not tell: `InActConn` counts a connection that is being closed, one that
 * was closed a minute ago (TIME_WAIT, kept for two minutes) and one that was reset (CLOSE, ten
 * seconds) alike. The latter two are kept for stray packets only (net/netfilter/ipvs/ip_vs_proto_tcp.c).
 *
 * @module
 */
import { formatEndpoint, type Ip, ipFromBytes, parseIp } from "../model/address.ts";

const endedStates = new Set(["TIME_WAIT", "CLOSE"]);

/**
 * Counts ended connections by object, `tcp 192.0.2.1:80 -> 192.0.2.7:8080` (the text of
 * `stepObject`), for the objects in `wanted`. Lines that are not understood count as not ended.
 *
 * Columns (net/netfilter/ipvs/ip_vs_conn.c): protocol; client, virtual and destination address and
 * port, each in hex (IPv6 addresses with colons); state; seconds left.
 */
export function countEnded(text: string, wanted: ReadonlySet<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [protocol, , , address, port, destination, destinationPort, state] = line.split(/\s+/);
    if (state === undefined || !endedStates.has(state)) continue;
    const from = readEndpoint(address!, port!);
    const to = readEndpoint(destination!, destinationPort!);
    if (from === undefined || to === undefined) continue;
    const object = `${protocol!.toLowerCase()} ${from} -> ${to}`;
    if (wanted.has(object)) counts.set(object, (counts.get(object) ?? 0) + 1);
  }
  return counts;
}

function readEndpoint(address: string, port: string): string | undefined {
  const ip = address.includes(":") ? parseIp(address) : readHex(address);
  const number = parseInt(port, 16);
  return ip === undefined || Number.isNaN(number)
    ? undefined
    : formatEndpoint({ address: ip, port: number });
}

function readHex(text: string): Ip | undefined {
  return /^[0-9A-Fa-f]{8}$/.test(text) ? ipFromBytes(Uint8Array.fromHex(text)) : undefined;
}
