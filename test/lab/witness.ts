/**
 * The main thread's side of the witness: what was seen on the wire and in the table, and when.
 *
 * @module
 */
import { ipFromBytes } from "../../src/model/address.ts";
import { decodeMdns, type MdnsMessage } from "./mdns_packet.ts";
import { endpoint, parseProcTable, type Table, type TableService } from "./table.ts";
import type { Sighting, WitnessOptions } from "./witness_main.ts";

/** The table after a change. */
export interface TableChange {
  readonly kind: "table";
  /** Milliseconds since the epoch, with fractions. */
  readonly at: number;
  readonly table: Table;
}

/** An mDNS packet on one of the director's links. */
export interface MdnsPacket {
  readonly kind: "mdns";
  /** When the kernel received it, in milliseconds since the epoch, with fractions. */
  readonly at: number;
  readonly interfaceIndex: number;
  /** Sent by the director itself. */
  readonly outgoing: boolean;
  readonly from: string;
  readonly message: MdnsMessage;
}

/** Anything seen. */
export type WitnessEvent = TableChange | MdnsPacket;

/** Collects what the witness thread sees. */
export class Witness implements AsyncDisposable {
  /** Everything seen so far, in order. */
  readonly events: WitnessEvent[] = [];
  readonly #worker = new Worker(new URL("./witness_main.ts", import.meta.url), { type: "module" });
  readonly #stop = new SharedArrayBuffer(4);
  readonly #ready = Promise.withResolvers<void>();
  #wake = Promise.withResolvers<void>();
  #undecodable = 0;

  private constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<Sighting[]>) => {
      for (const each of data) {
        if (each.kind === "ready") this.#ready.resolve();
        else this.#see(each);
      }
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#ready.reject(new Error(`witness: ${event.message}`));
    };
  }

  /** Starts watching the namespace at `path`. */
  static async start(namespacePath: string, periodMicroseconds = 1000): Promise<Witness> {
    const witness = new Witness();
    witness.#worker.postMessage(
      {
        namespace: namespacePath,
        periodMicroseconds,
        stop: witness.#stop,
      } satisfies WitnessOptions,
    );
    await witness.#ready.promise;
    return witness;
  }

  /** Packets that no decoder could read. */
  get undecodable(): number {
    return this.#undecodable;
  }

  /**
   * The first event, past or to come, that `matches`.
   *
   * @throws {Error} that lists what was seen, after `timeoutMs`.
   */
  async find(
    what: string,
    matches: (event: WitnessEvent) => boolean,
    timeoutMs = 30_000,
  ): Promise<WitnessEvent> {
    const until = performance.now() + timeoutMs;
    for (let seen = 0;;) {
      for (; seen < this.events.length; seen++) {
        const event = this.events[seen]!;
        if (matches(event)) return event;
      }
      const left = until - performance.now();
      if (left <= 0) {
        throw new Error(
          `the witness did not see ${what} within ${timeoutMs} ms; it saw:\n${this.describe()}`,
        );
      }
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([
        this.#wake.promise,
        new Promise((resolve) => timer = setTimeout(resolve, left)),
      ]);
      clearTimeout(timer);
    }
  }

  /** The first packet after `since` that announces the instance (`web._http._tcp.local`). */
  announcement(instance: string, since = 0, timeoutMs = 30_000): Promise<MdnsPacket> {
    return this.find(
      `an announcement of ${instance}`,
      (event) => event.kind === "mdns" && event.at >= since && pointerTtl(event, instance) > 0,
      timeoutMs,
    ) as Promise<MdnsPacket>;
  }

  /** The first packet after `since` that says goodbye for the instance. */
  goodbye(instance: string, since = 0, timeoutMs = 30_000): Promise<MdnsPacket> {
    return this.find(
      `a goodbye of ${instance}`,
      (event) => event.kind === "mdns" && event.at >= since && pointerTtl(event, instance) === 0,
      timeoutMs,
    ) as Promise<MdnsPacket>;
  }

  /** The first change of the table after `since` whose result fulfils `matches`. */
  table(
    what: string,
    matches: (table: Table) => boolean,
    since = 0,
    timeoutMs = 30_000,
  ): Promise<TableChange> {
    return this.find(
      what,
      (event) => event.kind === "table" && event.at >= since && matches(event.table),
      timeoutMs,
    ) as Promise<TableChange>;
  }

  /** One line an event, for failure messages. */
  describe(): string {
    const start = this.events[0]?.at ?? 0;
    let previous = "";
    const lines: string[] = [];
    for (const event of this.events) {
      const at = `${(event.at - start).toFixed(2)} ms`.padStart(14);
      if (event.kind === "table") {
        const text = event.table.map(describeService).join("; ") || "empty";
        // Only connections were counted: the reader waits for something else.
        if (text !== previous) lines.push(`${at}  table  ${text}`);
        previous = text;
        continue;
      }
      const { questions, records } = event.message;
      lines.push(
        `${at}  ${event.outgoing ? "sent  " : "packet"} ${event.from} ` + [
          ...questions.map((each) => `${each.name} ${each.type}?`),
          ...records.map((each) => `${each.name} ${each.type} ${each.data} ttl ${each.ttl}`),
        ].join(", "),
      );
    }
    return lines.slice(-60).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Atomics.store(new Int32Array(this.#stop), 0, 1);
    // It looks at the word after each wait, and closes what it opened.
    await new Promise((resolve) => setTimeout(resolve, 20));
    this.#worker.terminate();
  }

  #see(sighting: Exclude<Sighting, { kind: "ready" }>): void {
    if (sighting.kind === "table") {
      this.events.push({
        kind: "table",
        at: sighting.at,
        table: parseProcTable(new TextDecoder().decode(sighting.bytes)),
      });
    } else {
      const { bytes } = sighting;
      const v4 = bytes[0]! >> 4 === 4;
      const header = v4 ? (bytes[0]! & 15) * 4 : 40;
      try {
        this.events.push({
          kind: "mdns",
          at: sighting.at,
          interfaceIndex: sighting.interfaceIndex,
          outgoing: sighting.outgoing,
          from: ipFromBytes(v4 ? bytes.subarray(12, 16) : bytes.subarray(8, 24)),
          message: decodeMdns(bytes.subarray(header + 8)),
        });
      } catch {
        this.#undecodable++;
      }
    }
  }
}

function describeService({ key, destinations }: TableService): string {
  return `${key} -> ${
    destinations.map((each) => `${endpoint(each)}/${each.weight}`).join(" ") || "nothing"
  }`;
}

/** The TTL of the PTR that names the instance; -1 when the packet has none. */
function pointerTtl(event: MdnsPacket, instance: string): number {
  if (!event.message.response) return -1;
  const name = instance.toLowerCase();
  for (const each of event.message.records) {
    if (each.type === "PTR" && each.data.toLowerCase() === name) return each.ttl;
  }
  return -1;
}
