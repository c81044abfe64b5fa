/**
 * What tests of klb in the lab have in common: starting it, and reading the table it fills.
 *
 * @module
 */
import type { Director, LabProcess, Table } from "./topology.ts";

/** The virtual service of {@link fooConfig}. */
export const fooKey = "tcp 1.2.3.4:80";

/** A service whose workers announce `_foo._tcp`, on the interface of this name or on any. */
export function fooConfig(interfaceName?: string, bind = "1.2.3.4:80"): string {
  const lines = [`[[service]]`, `bind = "${bind}"`, `zeroconf_service = "foo"`];
  if (interfaceName !== undefined) lines.push(`zeroconf_interface = "${interfaceName}"`);
  return lines.join("\n") + "\n";
}

/** An instance for {@link fooConfig}. */
export function foo(name: string, port = 80): { name: string; type: string; port: number } {
  return { name, type: "_foo._tcp", port };
}

/** Starts klb and waits until its services are in the kernel. */
export async function startKlb(director: Director, config: string): Promise<LabProcess> {
  const klb = director.klb(["run", "--config", director.file("klb.toml", config)]);
  await klb.waitForLog(/ready with the config/, 60_000);
  return klb;
}

/** `.11:80/1 .12:80/0`: the last part of each destination's address, its port and its weight. */
export function destinations(table: Table, service = fooKey): string {
  const all = table.find(({ key }) => key === service)?.destinations ?? [];
  return all.map(({ address, port, weight }) =>
    `${address.replace(/^.*(?=[.:])/, "")}:${port}/${weight}`
  ).sort().join(" ");
}

/** Waits until `klb` has said something that matches once more than so many times before. */
export async function waitForMore(
  klb: LabProcess,
  pattern: RegExp,
  before: number,
  timeoutMs = 60_000,
): Promise<void> {
  await klb.waitForLog(new RegExp(`(?:${pattern.source}[^]*){${before + 1}}`), timeoutMs);
}

/** How often `klb` has said something that matches. */
export function timesSaid(klb: LabProcess, pattern: RegExp): number {
  return klb.log.match(new RegExp(pattern.source, "g"))?.length ?? 0;
}

/** Resolves after so many milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
