/**
 * The IPVS table as the kernel's `/proc/net/ip_vs` and as ipvsadm(8) print it.
 *
 * Both are witnesses: neither goes through klb's own netlink code.
 *
 * @module
 */
import { type Ip, parseIp } from "../../src/model/address.ts";

/** A destination as printed. */
export interface TableDestination {
  readonly address: Ip;
  readonly port: number;
  readonly forwarding: "masquerade" | "direct" | "tunnel" | "local" | "bypass";
  readonly weight: number;
  readonly activeConnections: number;
  readonly inactiveConnections: number;
}

/** A virtual service as printed. */
export interface TableService {
  /** `tcp 1.2.3.4:80`, `udp [2001:db8::1]:53`, `fwmark 7`. */
  readonly key: string;
  readonly scheduler: string;
  /** What follows the scheduler: `persistent`, `ops`, scheduler flags, ... */
  readonly flags: string;
  readonly destinations: readonly TableDestination[];
}

/** The table, in the order printed. */
export type Table = readonly TableService[];

const forwardings: Readonly<Record<string, TableDestination["forwarding"]>> = {
  masq: "masquerade",
  route: "direct",
  tunnel: "tunnel",
  local: "local",
  bypass: "bypass",
};

/** Reads the text of `/proc/net/ip_vs`. */
export function parseProcTable(text: string): Table {
  return parse(text, parseHexEndpoint, (mark) => parseInt(mark, 16));
}

/** Reads the output of `ipvsadm -Ln`, with or without `--exact`. */
export function parseIpvsadmTable(text: string): Table {
  return parse(text, parseEndpointText, (mark) => Number(mark));
}

/** The addresses and ports of a service's destinations, sorted: `192.168.99.11:80`. */
export function destinationsOf(table: Table, key: string): string[] {
  const service = table.find((each) => each.key === key);
  return (service?.destinations ?? []).map(endpoint).sort();
}

/** `1.2.3.4:80` or `[2001:db8::1]:80`. */
export function endpoint({ address, port }: { address: Ip; port: number }): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function parse(
  text: string,
  readEndpoint: (text: string) => { address: Ip; port: number },
  readMark: (text: string) => number,
): Table {
  const table: (TableService & { destinations: TableDestination[] })[] = [];
  for (const line of text.split("\n")) {
    // ipvsadm says IPv6 behind a firewall mark; /proc does not tell the families apart.
    const words = line.trim().replace(/^(FWM\s+\S+) IPv6/, "$1").split(/\s+/);
    if (words[0] === "->") {
      const service = table.at(-1);
      const forwarding = forwardings[(words[2] ?? "").toLowerCase()];
      if (!service || !forwarding) continue; // The heading.
      service.destinations.push({
        ...readEndpoint(words[1]!),
        forwarding,
        weight: Number(words[3]),
        activeConnections: Number(words[4]),
        inactiveConnections: Number(words[5]),
      });
    } else if (/^(TCP|UDP|SCTP|FWM)$/.test(words[0]!)) {
      table.push({
        key: words[0] === "FWM"
          ? `fwmark ${readMark(words[1]!)}`
          : `${words[0]!.toLowerCase()} ${endpoint(readEndpoint(words[1]!))}`,
        scheduler: words[2] ?? "",
        flags: words.slice(3).join(" "),
        destinations: [],
      });
    }
  }
  return table;
}

function parseHexEndpoint(text: string): { address: Ip; port: number } {
  const port = parseInt(text.slice(text.lastIndexOf(":") + 1), 16);
  if (text.startsWith("[")) return { address: ip(text.slice(1, text.indexOf("]"))), port };
  const quad = text.slice(0, 8).match(/../g) ?? [];
  return { address: ip(quad.map((each) => parseInt(each, 16)).join(".")), port };
}

function parseEndpointText(text: string): { address: Ip; port: number } {
  const colon = text.lastIndexOf(":");
  return {
    address: ip(text.slice(0, colon).replace(/^\[(.*)\]$/, "$1")),
    port: Number(text.slice(colon + 1)),
  };
}

function ip(text: string): Ip {
  const address = parseIp(text);
  if (!address) throw new Error(`not an address in the IPVS table: ${text}`);
  return address;
}
