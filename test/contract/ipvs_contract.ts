/**
 * What a kernel with IPVS does with what the client sends: run against the real one in the lab and
 * against the fake one everywhere, so that the fake stays true.
 *
 * The witness is not the client's own reader: in the lab it is ipvsadm, for the fake its table.
 *
 * @module
 */
import { assert } from "../testing.ts";
import { address, destination, service, step } from "../fakes/ipvs_objects.ts";
import { IpvsClient } from "../../src/ipvs/client.ts";
import { encodeStep } from "../../src/ipvs/codec.ts";
import { MessageFlag, MessageReader, MessageWriter } from "../../src/ipvs/netlink.ts";
import type { Transport } from "../../src/ipvs/transport.ts";
import {
  type Destination,
  destinationKey,
  type Protocol,
  serviceFamily,
  ServiceFlag,
  serviceKey,
  type VirtualServiceId,
} from "../../src/model/ipvs.ts";
import type { Step } from "../../src/model/step.ts";

/** A kernel whose table starts empty. */
export interface Kernel extends AsyncDisposable {
  /** A new socket to it. */
  connect(): Transport;
  /** The table as `ipvsadm -Sn` prints it, sorted. */
  witness(): Promise<string[]>;
  /** The thresholds of every destination as `ipvsadm -Ln --thresholds` prints them: `10 5`. */
  thresholds(): Promise<string[]>;
  /** Somebody else adds a masqueraded destination of weight 1. */
  foreignAdd(id: VirtualServiceId, destination: Destination): Promise<void>;
  /** Somebody else deletes a destination. */
  foreignDelete(id: VirtualServiceId, destination: Destination): Promise<void>;
}

/** Registers the suite. */
export function ipvsContract(name: string, makeKernel: () => Promise<Kernel>): void {
  const test = (what: string, run: (client: IpvsClient, kernel: Kernel) => Promise<void>) =>
    Deno.test(`${name}: ${what}`, async () => {
      await using kernel = await makeKernel();
      using client = await IpvsClient.open(kernel.connect());
      await run(client, kernel);
    });

  test("says its version", async (client) => {
    const info = await client.info();
    assert.match(info.version, /^1\.2\.\d+$/);
    assert(info.connectionTableSize >= 256);
  });

  test("an empty table is empty", async (client, kernel) => {
    assert.deepEqual(await client.read(), new Map());
    assert.deepEqual(await kernel.witness(), []);
  });

  for (const { id, option } of kinds) {
    test(`every scheduler and forwarding method on ${serviceKey(id)}`, async (client, kernel) => {
      await succeed(client, [step.addService(service(id, { scheduler: "wlc" }))]);
      for (const scheduler of ["rr", "wrr", "lc", "mh", "sh"]) {
        await succeed(client, [step.editService(service(id, { scheduler }))]);
        assert.deepEqual((await only(client)).service, service(id, { scheduler }));
      }
      const v6 = serviceFamily(id) === "ipv6";
      const methods = ["masquerade", "direct", "tunnel"] as const;
      // Three destinations, each with every method in turn.
      for (let turn = 0; turn < 3; turn++) {
        const workers = methods.map((_, i) =>
          destination(v6 ? `fd00::${i + 1}` : `10.0.0.${i + 1}`, 8080, {
            weight: 10 * turn + i,
            forwarding: methods[(i + turn) % 3]!,
          })
        );
        const change = turn === 0 ? step.add : step.edit;
        await succeed(client, workers.map((worker) => change(id, worker)));
        const { destinations } = await only(client);
        assert.deepEqual(
          [...destinations.values()].map((state) => state.destination).sort(byKey),
          workers,
        );
        assert.deepEqual(await client.readDestinations(id), destinations);
        if (turn === 1) continue;
        const letters = { masquerade: "-m", direct: "-g", tunnel: "-i" };
        assert.deepEqual(await kernel.witness(), [
          `-A ${option} -s sh`,
          ...workers.map((worker) =>
            `-a ${option} -r ${destinationKey(worker)} ` +
            `${letters[worker.forwarding as keyof typeof letters]} -w ${worker.weight}` +
            (worker.forwarding === "tunnel" ? " --tun-type ipip" : "")
          ),
        ]);
      }
      const [first] = (await only(client)).destinations.values();
      await succeed(client, [step.delete(id, first!.destination)]);
      assert.equal((await only(client)).destinations.size, 2);
      await succeed(client, [step.deleteService(id)]);
      assert.deepEqual(await client.read(), new Map());
    });
  }

  test("persistence, netmasks, flags and engines", async (client, kernel) => {
    const { persistent, onePacket, scheduler1, scheduler2 } = ServiceFlag;
    const v4 = address("192.0.2.1", 53, "udp");
    const v6 = address("2001:db8::1", 53, "udp");
    const cases = [
      [
        service(v4, { flags: persistent, persistenceTimeout: 300, persistencePrefix: 24 }),
        "-A -u 192.0.2.1:53 -s rr -p 300 -M 255.255.255.0",
      ],
      [
        service(v4, { flags: persistent, persistenceTimeout: 60 }),
        "-A -u 192.0.2.1:53 -s rr -p 60",
      ],
      [service(v4, { flags: onePacket }), "-A -u 192.0.2.1:53 -s rr -o"],
      [
        service(v4, { scheduler: "sh", flags: scheduler1 | scheduler2 }),
        "-A -u 192.0.2.1:53 -s sh -b sh-fallback,sh-port",
      ],
      [
        service(v4, {
          flags: persistent | onePacket,
          persistenceTimeout: 60,
          persistenceEngine: "sip",
        }),
        "-A -u 192.0.2.1:53 -s rr -p 60 --pe sip -o",
      ],
      [service(v4), "-A -u 192.0.2.1:53 -s rr"],
      [
        service(v6, { flags: persistent, persistenceTimeout: 30, persistencePrefix: 64 }),
        "-A -u [2001:db8::1]:53 -s rr -p 30 -M 64",
      ],
      [
        service(v6, { flags: persistent, persistenceTimeout: 30 }),
        "-A -u [2001:db8::1]:53 -s rr -p 30",
      ],
    ] as const;
    for (const id of [v4, v6]) {
      let added = false;
      for (const [wanted, line] of cases.filter(([wanted]) => wanted.id === id)) {
        await succeed(client, [added ? step.editService(wanted) : step.addService(wanted)]);
        added = true;
        assert.deepEqual(await kernel.witness(), [line]);
        assert.deepEqual((await only(client)).service, wanted);
      }
      await succeed(client, [step.deleteService(id)]);
    }
  });

  test("weights and thresholds", async (client, kernel) => {
    const id = address("192.0.2.1", 80);
    await succeed(client, [step.addService(service(id))]);
    const line = "-a -t 192.0.2.1:80 -r 10.0.0.7:8080 -m -w ";
    const base = destination("10.0.0.7", 8080);
    await succeed(client, [
      step.add(id, { ...base, weight: 0, upperThreshold: 10, lowerThreshold: 5 }),
    ]);
    assert.equal((await kernel.witness())[1], `${line}0`);
    assert.deepEqual(await kernel.thresholds(), ["10 5"]);
    const largest = { ...base, weight: 0x7fffffff, upperThreshold: 0xffffffff };
    await succeed(client, [step.edit(id, largest)]);
    assert.equal((await kernel.witness())[1], `${line}2147483647`);
    assert.deepEqual(await kernel.thresholds(), ["4294967295 0"]);
    const { destinations } = await only(client);
    assert.deepEqual(destinations.get(destinationKey(base)), {
      destination: largest,
      counters: { activeConnections: 0, inactiveConnections: 0, persistentConnections: 0 },
    });
  });

  test("tunnels, and tunnels between the families", async (client, kernel) => {
    const id = address("192.0.2.1", 80);
    const forwarding = "tunnel";
    const gue = destination("10.0.0.1", 80, {
      forwarding,
      tunnel: { type: "gue", port: 6080, flags: 1 },
    });
    const gre = destination("10.0.0.2", 80, {
      forwarding,
      tunnel: { type: "gre", port: 0, flags: 0 },
    });
    const other = destination("fd00::3", 80, {
      forwarding,
      tunnel: { type: "gue", port: 6080, flags: 2 },
    });
    await succeed(client, [
      step.addService(service(id)),
      ...[gue, gre, other].map((destination) => step.add(id, destination)),
    ]);
    assert.deepEqual(await kernel.witness(), [
      "-A -t 192.0.2.1:80 -s rr",
      "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum",
      "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gre --tun-nocsum",
      "-a -t 192.0.2.1:80 -r [fd00::3]:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum",
    ]);
    const { destinations } = await only(client);
    assert.deepEqual(
      [...destinations.values()].map((state) => state.destination).sort(byKey),
      [gue, gre, other].sort(byKey),
    );
    // Without the attributes an edit sets them back.
    await succeed(client, [step.edit(id, destination("10.0.0.1", 80, { forwarding }))]);
    assert.equal(
      (await kernel.witness())[1],
      "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type ipip",
    );
  });

  test("each refusal has its number", async (client, kernel) => {
    const id = address("192.0.2.1", 80);
    const v6 = address("2001:db8::1", 80);
    const absent = address("192.0.2.9", 9);
    const worker = destination("10.0.0.1", 80);
    const other = destination("10.0.0.2", 80);
    await succeed(client, [
      step.addService(service(id)),
      step.addService(service(v6)),
      step.add(id, worker),
    ]);
    const before = await kernel.witness();
    const cases: readonly (readonly [errno: string, step: Step])[] = [
      ["EEXIST", step.addService(service(id))],
      ["EEXIST", step.add(id, worker)],
      ["ESRCH", step.editService(service(absent))],
      ["ESRCH", step.deleteService(absent)],
      ["ESRCH", step.add(absent, worker)],
      ["ESRCH", step.edit(absent, worker)],
      ["ESRCH", step.delete(absent, worker)],
      ["ENOENT", step.edit(id, other)],
      ["ENOENT", step.delete(id, other)],
      ["ENOENT", step.addService(service(absent, { scheduler: "nonsense" }))],
      ["ENOENT", step.editService(service(id, { scheduler: "nonsense" }))],
      ["ENOENT", step.addService(service(absent, { persistenceEngine: "nonsense" }))],
      ["EINVAL", step.addService(service(absent, { scheduler: "sixteen-letters-" }))],
      ["EINVAL", step.addService(service(address("2001:db8::2", 1), { persistencePrefix: 0 }))],
      ["EINVAL", step.addService(service(address("2001:db8::2", 1), { persistencePrefix: 129 }))],
      ["EINVAL", step.add(id, destination("0.0.0.0", 80))],
      ["EINVAL", step.add(id, destination("255.255.255.255", 80))],
      ["EINVAL", step.add(id, destination("224.0.0.1", 80))],
      ["EINVAL", step.add(v6, destination("fe80::1", 80))],
      ["EINVAL", step.add(v6, destination("ff02::1", 80))],
      ["EINVAL", step.add(v6, destination("::", 80))],
      ["EINVAL", step.add(id, destination("fd00::1", 80))],
      ["EINVAL", step.add(v6, worker)],
      [
        "EINVAL",
        step.add(
          id,
          { ...other, forwarding: "tunnel", tunnel: { type: "gue", port: 0, flags: 1 } },
        ),
      ],
      ["ERANGE", step.add(id, { ...other, weight: 0x80000000 })],
      ["ERANGE", step.edit(id, { ...worker, weight: 0xffffffff })],
      ["ERANGE", step.add(id, { ...other, lowerThreshold: 5, upperThreshold: 4 })],
      ["ERANGE", step.edit(id, { ...worker, lowerThreshold: 1 })],
    ];
    const failures = await client.apply(cases.map(([, step]) => step));
    assert.deepEqual(
      failures.map(({ step, error }) => [error.errnoName, step]),
      cases.map(([errno, step]) => [errno, step]),
    );
    assert.deepEqual(await kernel.witness(), before);
  });

  test("a failing step does not stop the others", async (client, kernel) => {
    const id = address("192.0.2.1", 80);
    const workers = Array.from({ length: 10 }, (_, i) => destination(`10.0.0.${i + 1}`, 80));
    const failures = await client.apply([
      step.addService(service(id)),
      ...workers.flatMap((worker, i) => [step.add(id, i % 2 ? { ...worker, weight: -1 } : worker)]),
      step.deleteService(address("192.0.2.9", 9)),
    ]);
    assert.deepEqual(failures.map(({ error }) => error.errnoName), [
      ...["ERANGE", "ERANGE", "ERANGE", "ERANGE", "ERANGE"],
      "ESRCH",
    ]);
    assert.equal((await kernel.witness()).length, 6);
  });

  test("thousands of failures in one pass all arrive", async (client) => {
    const steps = Array.from(
      { length: 5000 },
      (_, i) => step.deleteService(address(`10.1.${i >> 8}.${i & 255}`, 80)),
    );
    const failures = await client.apply(steps);
    assert.equal(failures.length, steps.length);
    assert(failures.every(({ error }, i) =>
      error.errnoName === "ESRCH" &&
      error.object === `tcp 10.1.${i >> 8}.${i & 255}:80`
    ));
  });

  test("a table of hundreds is written and read", async (client, kernel) => {
    const steps: Step[] = [];
    const lines: string[] = [];
    for (let i = 0; i < 200; i++) {
      const id = address(`10.1.0.${i}`, 80);
      steps.push(step.addService(service(id)));
      lines.push(`-A -t 10.1.0.${i}:80 -s rr`);
      for (let j = 1; j <= 5; j++) {
        steps.push(step.add(id, destination(`10.2.${i}.${j}`, 80, { weight: j })));
        lines.push(`-a -t 10.1.0.${i}:80 -r 10.2.${i}.${j}:80 -m -w ${j}`);
      }
    }
    await succeed(client, steps);
    assert.deepEqual(await kernel.witness(), lines.sort());
    const table = await client.read();
    assert.equal(table.size, 200);
    for (const { destinations } of table.values()) assert.equal(destinations.size, 5);
  });

  test("a list of more than one datagram is read whole", async (client) => {
    const id = address("192.0.2.1", 80);
    const workers = Array.from(
      { length: 700 },
      (_, i) => destination(`10.2.${i >> 8}.${i & 255 || 1}`, 1000 + i),
    );
    await succeed(client, [
      step.addService(service(id)),
      ...workers.map((worker) => step.add(id, worker)),
    ]);
    const read = await client.readDestinations(id);
    assert.deepEqual([...read.keys()].sort(), workers.map(destinationKey).sort());
  });

  test("what others change is seen", async (client, kernel) => {
    const id = address("192.0.2.1", 80);
    const mine = destination("10.0.0.1", 80);
    const theirs = destination("10.0.0.2", 80);
    await succeed(client, [step.addService(service(id)), step.add(id, mine)]);
    await kernel.foreignAdd(id, theirs);
    await kernel.foreignDelete(id, mine);
    assert.deepEqual([...(await only(client)).destinations.keys()], [destinationKey(theirs)]);
  });

  test("the destinations of no service are none", async (client) => {
    assert.deepEqual(await client.readDestinations(address("192.0.2.1", 80)), new Map());
  });

  test("two clients share the table", async (client, kernel) => {
    using other = await IpvsClient.open(kernel.connect());
    const id = address("192.0.2.1", 80);
    const results = await Promise.all([
      client.apply([step.addService(service(id))]),
      other.apply([step.addService(service(id))]),
    ]);
    assert.equal(results.flat().length, 1);
    assert.deepEqual(await other.read(), await client.read());
  });

  test("attributes too short or left out are refused", async (_client, kernel) => {
    using transport = kernel.connect();
    const family = await familyOf(transport);
    const id = address("192.0.2.1", 80);
    const writer = new MessageWriter();
    const worker = destination("10.0.0.1", 80);
    const messages: ((sequence: number) => void)[] = [
      (sequence) => encodeStep(writer, family, sequence, step.addService(service(id))),
      // Each is the same change with one attribute of the destination spoilt.
      ...[1, 2, 3, 4, 5, 6, 11].map((type) => (sequence: number) => {
        const before = writer.length;
        encodeStep(writer, family, sequence, step.add(id, worker));
        rename(writer.bytes.subarray(before), 2, type, 0x3f00);
      }),
      ...[2, 3, 4, 5, 6, 11].map((type) => (sequence: number) => {
        const before = writer.length;
        encodeStep(writer, family, sequence, step.add(id, worker));
        shorten(writer.bytes.subarray(before), 2, type);
      }),
    ];
    const errors: number[] = [];
    for (const [sequence, write] of messages.entries()) {
      writer.reset();
      write(sequence);
      writer.addFlags(0, MessageFlag.ack);
      await transport.send(writer.bytes, "slow");
      const answer = new MessageReader((await transport.receive(1000))!);
      assert(answer.next());
      errors.push(0 - answer.view.getInt32(answer.payload, true));
      // What was taken makes room for the next.
      writer.reset();
      encodeStep(writer, family, 1000, step.delete(id, worker));
      writer.addFlags(0, MessageFlag.ack);
      await transport.send(writer.bytes, "slow");
      await transport.receive(1000);
    }
    assert.deepEqual(errors, [
      0,
      ...[22, 22, 22, 22, 22, 22, 0],
      ...[22, 22, 22, 22, 22, 22],
    ]);
  });
}

/** Kinds of virtual services, with ipvsadm's option for each. */
const kinds: readonly { id: VirtualServiceId; option: string }[] = [
  ...(["tcp", "udp", "sctp"] as const).flatMap((protocol: Protocol) => {
    const letter = { tcp: "-t", udp: "-u", sctp: "--sctp-service" }[protocol];
    return [
      { id: address("192.0.2.1", 80, protocol), option: `${letter} 192.0.2.1:80` },
      { id: address("2001:db8::1", 80, protocol), option: `${letter} [2001:db8::1]:80` },
    ];
  }),
  { id: { kind: "fwmark", family: "ipv4", fwmark: 7 }, option: "-f 7" },
  { id: { kind: "fwmark", family: "ipv6", fwmark: 70_000 }, option: "-f 70000 -6" },
];

async function succeed(client: IpvsClient, steps: readonly Step[]): Promise<void> {
  const failures = await client.apply(steps);
  assert.deepEqual(failures.map(({ error }) => error.message), []);
}

/** The only virtual service of the table. */
async function only(
  client: IpvsClient,
): Promise<
  Awaited<ReturnType<IpvsClient["read"]>> extends Map<string, infer State> ? State : never
> {
  const states = [...(await client.read()).values()];
  assert.equal(states.length, 1);
  return states[0]!;
}

function byKey(a: Destination, b: Destination): number {
  return destinationKey(a) < destinationKey(b) ? -1 : 1;
}

/** The number of the IPVS family, asked for byte by byte. */
async function familyOf(transport: Transport): Promise<number> {
  const writer = new MessageWriter();
  writer.beginMessage(0x10, MessageFlag.request, 1);
  writer.genericHeader(3, 1);
  writer.text(2, "IPVS");
  writer.endMessage();
  await transport.send(writer.bytes, "quick");
  const view = new DataView((await transport.receive(1000))!.buffer);
  for (let at = 20;; at += (view.getUint16(at, true) + 3) & ~3) {
    if (view.getUint16(at + 2, true) === 1) return view.getUint16(at + 4, true);
  }
}

/** Finds an attribute within a nest of a message: where its header is. */
function find(message: Uint8Array, nest: number, type: number): number {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const search = (from: number, to: number, type: number): number => {
    for (let at = from; at < to; at += (view.getUint16(at, true) + 3) & ~3) {
      if (view.getUint16(at + 2, true) === type) return at;
    }
    throw new Error(`no attribute ${type}`);
  };
  const outer = search(20, message.length, nest);
  return search(outer + 4, outer + view.getUint16(outer, true), type);
}

function rename(message: Uint8Array, nest: number, type: number, to: number): void {
  const at = find(message, nest, type);
  new DataView(message.buffer, message.byteOffset).setUint16(at + 2, to, true);
}

/** Takes the last byte off a value: its place becomes padding. */
function shorten(message: Uint8Array, nest: number, type: number): void {
  const at = find(message, nest, type);
  const view = new DataView(message.buffer, message.byteOffset);
  view.setUint16(at, view.getUint16(at, true) - 1, true);
}
