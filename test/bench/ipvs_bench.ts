// deno-lint-ignore-file no-console
/**
 * Fills the kernel with virtual services and reads them back: klb, `ipvsadm -R`, and what the kernel
 * itself takes. Runs in the lab: `deno task bench`. Exit status 1 where a goal is missed.
 *
 * Every run has a network namespace of its own: the kernel keeps deleted destinations for two
 * minutes, and looks through all of them for each that is added. The ways take turns, so that a
 * machine that is busy for a while is no one's disadvantage.
 *
 * @module
 */
import { openNetlinkSocket } from "../../ffi/netlink_socket.ts";
import { ipFromBytes } from "../../src/model/address.ts";
import {
  type Destination,
  destinationKey,
  noTunnel,
  serviceKey,
  type VirtualService,
} from "../../src/model/ipvs.ts";
import type { Step } from "../../src/model/step.ts";
import { IpvsClient } from "../../src/ipvs/client.ts";
import { encodeStep } from "../../src/ipvs/codec.ts";
import { MessageFlag, MessageReader, MessageWriter } from "../../src/ipvs/netlink.ts";
import type { Transport, Work } from "../../src/ipvs/transport.ts";
import type { DesiredService } from "../../src/plan/desired.ts";
import { planService } from "../../src/plan/diff.ts";
import { check, libcSymbols } from "../lab/linux.ts";

const services = Number(Deno.args[0] ?? 1000);
const perService = Number(Deno.args[1] ?? 10);
/** Of ipvsadm; three times as many of what takes milliseconds and is disturbed by everything. */
const runs = Number(Deno.args[2] ?? 5);
const shortRuns = 3;

/** At least so many times faster than `ipvsadm -R`. */
const goalAgainstIpvsadm = 20;
/** At most so many times what the kernel itself takes. */
const goalAgainstKernel = 4;

const desired: DesiredService[] = Array.from({ length: services }, (_, i) => {
  const service: VirtualService = {
    id: {
      kind: "address",
      protocol: "tcp",
      address: ipFromBytes(new Uint8Array([10, 1, i >> 8, i])),
      port: 80,
    },
    scheduler: "rr",
    flags: 0,
    persistenceTimeout: 0,
    persistencePrefix: 32,
    persistenceEngine: "",
  };
  const destinations = Array.from({ length: perService }, (_, j): Destination => ({
    address: ipFromBytes(new Uint8Array([10, 2 + (i >> 8), i, j + 1])),
    port: 8000 + (j >> 8),
    forwarding: "masquerade",
    weight: 1,
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnel: noTunnel,
  }));
  return {
    service,
    destinations: new Map(
      destinations.map((destination) => [destinationKey(destination), {
        destination,
        reason: "bench",
      }]),
    ),
    departures: new Map(),
    settled: true,
    drainTimeout: 0,
  };
});

/** What the planner asks for, given what is there. */
function plan(actual: Awaited<ReturnType<IpvsClient["read"]>>): Step[] {
  return desired.flatMap((each) => {
    const observation = {
      actual: actual.get(serviceKey(each.service.id)),
      readAt: 0,
      drains: new Map(),
    };
    return [...planService(each, observation, 0).steps];
  });
}

const steps = plan(new Map());
const objects = steps.length;

const script = new TextEncoder().encode(
  steps.map((step) =>
    step.op === "add-service"
      ? `-A -t ${serviceKey(step.service.id).slice(4)} -s ${step.service.scheduler}\n`
      : step.op === "add-destination"
      ? `-a -t ${serviceKey(step.id).slice(4)} -r ${
        destinationKey(step.destination)
      } -m -w ${step.destination.weight}\n`
      : ""
  ).join(""),
);

/** Moves this thread, and what it starts from now on, into an empty network namespace. */
async function freshNamespace(): Promise<void> {
  check(libcSymbols().unshare(0x40000000), "unshare");
  // Without an address the kernel takes no destination.
  await run("ip", ["link", "set", "lo", "up"]);
  // The last namespace is taken down in the background.
  await new Promise((resolve) => setTimeout(resolve, 500));
}

async function run(command: string, args: string[], input?: Uint8Array): Promise<void> {
  const child = new Deno.Command(command, {
    args,
    stdin: input ? "piped" : "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  if (input) {
    const writer = child.stdin.getWriter();
    await writer.write(input);
    await writer.close();
  }
  const { success } = await child.status;
  if (!success) throw new Error(`${command} failed`);
}

/**
 * Everything is in the kernel. The witness is ipvsadm: /proc/net/ip_vs leaves lines out while other
 * namespaces have virtual services (ip_vs_info_seq_next counts theirs, ip_vs_info_array does not).
 */
async function expectFull(): Promise<void> {
  const { stdout } = await new Deno.Command("ipvsadm", { args: ["-Sn"] }).output();
  const lines = stdout.reduce((count, byte) => byte === 0x0a ? count + 1 : count, 0);
  if (lines !== objects) throw new Error(`${lines} objects in the kernel instead of ${objects}`);
}

/** A transport that counts what passes. */
class Counting implements Transport {
  readonly #inner: Transport;
  changes = 0;
  requests = 0;

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  send(datagram: Uint8Array, work: Work): Promise<void> {
    const message = new MessageReader(datagram);
    while (message.next()) work === "slow" ? this.changes++ : this.requests++;
    return this.#inner.send(datagram, work);
  }

  receive(timeoutMs: number): Promise<Uint8Array | null> {
    return this.#inner.receive(timeoutMs);
  }

  [Symbol.dispose](): void {
    this.#inner[Symbol.dispose]();
  }
}

async function time(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Batches written in advance, sent on this thread, and the last acknowledged: nothing but the kernel. */
async function kernelAlone(): Promise<number> {
  await freshNamespace();
  using socket = openNetlinkSocket();
  let familyId = 0;
  using spy = await IpvsClient.open({
    send(datagram, work) {
      familyId = new DataView(datagram.buffer, datagram.byteOffset).getUint16(4, true);
      return socket.send(datagram, work);
    },
    receive: (timeoutMs) => socket.receive(timeoutMs),
    [Symbol.dispose]() {},
  });
  await spy.info();
  const batches: Uint8Array[] = [];
  const writer = new MessageWriter(1 << 17);
  let last = 0;
  for (const [index, step] of steps.entries()) {
    last = writer.length;
    encodeStep(writer, familyId, index + 1000, step);
    if (writer.length < 65536 && index < steps.length - 1) continue;
    if (index === steps.length - 1) writer.addFlags(last, MessageFlag.ack);
    batches.push(writer.bytes.slice());
    writer.reset();
  }
  const taken = await time(async () => {
    for (const batch of batches) await socket.send(batch, "quick");
    await socket.receive(10_000);
  });
  await expectFull();
  return taken;
}

async function ipvsadm(): Promise<number> {
  await freshNamespace();
  const taken = await time(() => run("ipvsadm", ["-R"], script));
  await expectFull();
  return taken;
}

interface KlbTimes {
  readonly apply: number;
  readonly read: number;
  readonly unchanged: number;
  readonly unchangedMessages: number;
}

async function klb(): Promise<KlbTimes> {
  await freshNamespace();
  const transport = new Counting(openNetlinkSocket());
  using client = await IpvsClient.open(transport);
  const apply = await time(async () => {
    const failures = await client.apply(steps);
    if (failures.length > 0) throw failures[0]!.error;
  });
  await expectFull();
  const read = await time(async () => void await client.read());
  transport.changes = 0;
  const unchanged = await time(async () => {
    const failures = await client.apply(plan(await client.read()));
    if (failures.length > 0) throw failures[0]!.error;
  });
  return { apply, read, unchanged, unchangedMessages: transport.changes };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const kernelTimes: number[] = [];
const ipvsadmTimes: number[] = [];
const klbTimes: KlbTimes[] = [];
for (let i = 0; i < runs; i++) {
  console.error(`run ${i + 1} of ${runs}`);
  for (let j = 0; j < shortRuns; j++) {
    klbTimes.push(await klb());
    kernelTimes.push(await kernelAlone());
  }
  ipvsadmTimes.push(await ipvsadm());
}

const kernel = median(kernelTimes);
const reference = median(ipvsadmTimes);
const own = median(klbTimes.map(({ apply }) => apply));
const messages = Math.max(...klbTimes.map(({ unchangedMessages }) => unchangedMessages));

const row = (what: string, times: readonly number[], note = "") =>
  console.log(
    [
      what.padEnd(38),
      `${median(times).toFixed(1).padStart(9)} ms`,
      `${Math.min(...times).toFixed(1).padStart(9)} ms`,
      `${(median(times) * 1000 / objects).toFixed(2).padStart(8)} us`,
      note,
    ].join(" ").trimEnd(),
  );

console.log(
  `\n${services} virtual services with ${perService} destinations each, from nothing to in the ` +
    `kernel; medians of ${runs * shortRuns} runs, of ipvsadm ${runs}\n`,
);
console.log(
  `${"".padEnd(38)} ${"median".padStart(12)} ${"best".padStart(12)} ${"an object".padStart(11)}`,
);
row("the kernel alone", kernelTimes);
row(
  "klb",
  klbTimes.map(({ apply }) => apply),
  `${(own / kernel).toFixed(2)} x the kernel (goal: at most ${goalAgainstKernel})`,
);
row(
  "ipvsadm -R",
  ipvsadmTimes,
  `klb is ${(reference / own).toFixed(0)} x faster (goal: at least ${goalAgainstIpvsadm})`,
);
row("klb, the first time in a process", [klbTimes[0]!.apply]);
row("klb, reading it all", klbTimes.map(({ read }) => read));
row(
  "klb, a pass over the unchanged table",
  klbTimes.map(({ unchanged }) => unchanged),
  `${messages} messages that change something (goal: 0)`,
);
const met = own <= kernel * goalAgainstKernel && own * goalAgainstIpvsadm <= reference &&
  messages === 0;
console.log(met ? "\nAll goals met." : "\nA goal is missed.");
Deno.exit(met ? 0 : 1);
