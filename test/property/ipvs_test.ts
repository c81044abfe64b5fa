import { assert, fc } from "../testing.ts";
import { FakeKernel } from "../fakes/fake_kernel.ts";
import { anyDestination, anyService, anyStep, steps } from "../fakes/ipvs_arbitraries.ts";
import { IpvsClient } from "../../src/ipvs/client.ts";
import { decodeDestination, decodeInfo, decodeService, encodeStep } from "../../src/ipvs/codec.ts";
import { NetlinkError } from "../../src/ipvs/error.ts";
import { decodeFamilyId } from "../../src/ipvs/genetlink.ts";
import {
  decodeAcknowledgement,
  DecodeError,
  MessageReader,
  MessageWriter,
} from "../../src/ipvs/netlink.ts";
import { serviceFamily, type VirtualServiceState } from "../../src/model/ipvs.ts";
import type { Step } from "../../src/model/step.ts";

/** A reader at the only message of a step. */
function written(step: Step): MessageReader {
  const writer = new MessageWriter(16);
  encodeStep(writer, 28, 7, step);
  const message = new MessageReader(writer.bytes);
  assert(message.next());
  assert.deepEqual([message.type, message.sequence, message.end], [28, 7, writer.length]);
  return message;
}

Deno.test("a virtual service that was encoded decodes to itself", () => {
  fc.assert(fc.property(anyService, (service) => {
    const message = written({ op: "add-service", service, reason: "" });
    assert.deepEqual(decodeService(message), service);
  }));
});

Deno.test("a destination that was encoded decodes to itself", () => {
  fc.assert(fc.property(anyService, anyDestination, ({ id }, destination) => {
    const message = written({ op: "add-destination", id, destination, reason: "" });
    const state = decodeDestination(message, serviceFamily(id));
    assert.deepEqual(state?.destination, destination);
  }));
});

Deno.test("messages written one behind the other are walked one by one", () => {
  fc.assert(fc.property(fc.array(anyStep), (steps) => {
    const writer = new MessageWriter(16);
    steps.forEach((step, sequence) => encodeStep(writer, 28, sequence, step));
    const message = new MessageReader(writer.bytes);
    let count = 0;
    while (message.next()) assert.equal(message.sequence, count++);
    assert.equal(count, steps.length);
  }));
});

/** Walks over a datagram with every decoder. */
function decodeEverything(datagram: Uint8Array): void {
  const message = new MessageReader(datagram);
  while (message.next()) {
    decodeService(message);
    decodeDestination(message, "ipv6");
    decodeInfo(message);
    decodeFamilyId(message);
    decodeAcknowledgement(message);
  }
}

function mustNotFail(datagram: Uint8Array): void {
  try {
    decodeEverything(datagram);
  } catch (error) {
    assert(error instanceof DecodeError, String(error));
  }
}

Deno.test("random bytes end in a DecodeError at worst", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), mustNotFail));
});

Deno.test("damaged messages end in a DecodeError at worst", () => {
  const damage = fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 0, max: 255 })), {
    maxLength: 5,
  });
  fc.assert(fc.property(anyStep, fc.nat(2), damage, fc.nat(400), (step, type, damage, cut) => {
    const writer = new MessageWriter();
    encodeStep(writer, type === 0 ? 28 : type + 1, 1, step);
    const bytes = writer.bytes;
    for (const [at, value] of damage) bytes[at % bytes.length] = value;
    mustNotFail(bytes.subarray(0, Math.max(16, cut)));
  }));
});

Deno.test("answers of random bytes never hang or crash the client", async () => {
  const datagrams = fc.array(fc.uint8Array({ maxLength: 100 }), { minLength: 1, maxLength: 10 });
  await fc.assert(fc.asyncProperty(datagrams, async (datagrams) => {
    const socket = new FakeKernel().connect();
    using client = await IpvsClient.open(socket, { replyTimeout: 1 });
    for (const datagram of datagrams) socket.inject(datagram);
    try {
      await client.read();
    } catch (error) {
      assert(error instanceof NetlinkError, String(error));
    }
    await client.apply([]);
  }));
});

function comparable(table: ReadonlyMap<string, VirtualServiceState>): unknown {
  return [...table];
}

Deno.test("what is read is what the kernel holds, whatever was applied", async () => {
  await fc.assert(fc.asyncProperty(steps, fc.integer({ min: 1, max: 4 }), async (steps, size) => {
    const kernel = new FakeKernel();
    kernel.objectsPerDatagram = size;
    using client = await IpvsClient.open(kernel.connect());
    const failures = await client.apply(steps);
    const failed = kernel.log.filter(({ write, errno }) => write && errno !== 0);
    assert.equal(failures.length, failed.length);
    assert.deepEqual(comparable(await client.read()), comparable(kernel.table()));
  }));
});

Deno.test("lost answers never make a failure of what was done", async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.infiniteStream(fc.boolean()), async (steps, lost) => {
      const kernel = new FakeKernel();
      using client = await IpvsClient.open(kernel.connect(), { replyTimeout: 1 });
      kernel.loseReply = ({ write }) => write && lost.next().value!;
      const failures = await client.apply(steps);
      const answers = kernel.log.filter(({ write }) => write);
      assert.equal(answers.length, steps.length);
      for (const { step, error } of failures) {
        const { errno } = answers[steps.indexOf(step)]!;
        if (error.errnoName === "ENOBUFS") assert.notEqual(errno, 0, error.message);
        else assert.equal(error.errno, errno);
      }
      assert.deepEqual(comparable(await client.read()), comparable(kernel.table()));
    }),
  );
});
