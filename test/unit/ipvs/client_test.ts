import { assert } from "../../testing.ts";
import { FakeKernel } from "../../fakes/fake_kernel.ts";
import { IpvsClient } from "../../../src/ipvs/client.ts";
import { NetlinkError } from "../../../src/ipvs/error.ts";
import { destinationKey, serviceKey } from "../../../src/model/ipvs.ts";
import type { Ip } from "../../../src/model/address.ts";
import type { Step } from "../../../src/model/step.ts";
import { address, destination, service, step } from "../../fakes/ipvs_objects.ts";

const web = address("192.0.2.1", 80);
const worker = destination("10.0.0.1", 8080);

async function withClient(
  use: (client: IpvsClient, kernel: FakeKernel) => Promise<void>,
  kernel = new FakeKernel(),
): Promise<void> {
  using client = await IpvsClient.open(kernel.connect(), { replyTimeout: 50, sendTimeout: 50 });
  await use(client, kernel);
}

function filled(services: number, destinations: number): Step[] {
  const steps: Step[] = [];
  for (let i = 0; i < services; i++) {
    const id = address(`10.1.${i >> 8}.${i & 255}`, 80);
    steps.push(step.addService(service(id)));
    for (let j = 0; j < destinations; j++) {
      steps.push(step.add(id, destination(`10.2.${j >> 8}.${j & 255}`, 8000)));
    }
  }
  return steps;
}

async function refused(promise: Promise<unknown>): Promise<NetlinkError> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof NetlinkError, String(error));
    return error;
  }
  assert.fail("it was not refused");
}

Deno.test("opening says that the kernel has no IPVS, and closes the socket", async () => {
  const kernel = new FakeKernel();
  kernel.hasIpvs = false;
  const socket = kernel.connect();
  const error = await refused(IpvsClient.open(socket));
  assert.equal(error.errnoName, "ENOENT");
  assert.equal(
    error.message,
    "cannot find netlink family IPVS: ENOENT (no such object): this kernel has no IPVS: " +
      "modprobe ip_vs, or take a kernel with CONFIG_IP_VS",
  );
  assert(socket.disposed);
});

Deno.test("opening says that the capability is missing", async () => {
  const kernel = new FakeKernel();
  kernel.hasCapability = false;
  const error = await refused(IpvsClient.open(kernel.connect()));
  assert.equal(
    error.message,
    "cannot use IPVS: EPERM (operation not permitted): run as root, or with CAP_NET_ADMIN in the " +
      "initial user namespace",
  );
});

Deno.test("a kernel that does not answer is not waited for", async () => {
  const kernel = new FakeKernel();
  kernel.loseReply = () => true;
  const error = await refused(IpvsClient.open(kernel.connect(), { replyTimeout: 50 }));
  assert.equal(error.errnoName, "ETIMEDOUT");
});

Deno.test("a failing step names what, and does not stop the others", async () => {
  await withClient(async (client, kernel) => {
    const missing = address("192.0.2.9", 9);
    const failures = await client.apply([
      step.addService(service(web)),
      step.add(missing, worker),
      step.addService(service(address("192.0.2.2", 80), { scheduler: "foo" })),
      step.add(web, worker),
      step.add(web, worker),
    ]);
    assert.deepEqual(failures.map(({ error }) => error.message), [
      "cannot add destination tcp 192.0.2.9:9 -> 10.0.0.1:8080: ESRCH (no such virtual service): " +
      "the virtual service is not in the kernel's table",
      "cannot add virtual service tcp 192.0.2.2:80: ENOENT (no such object): the kernel has no " +
      'scheduler "foo": modprobe ip_vs_foo',
      "cannot add destination tcp 192.0.2.1:80 -> 10.0.0.1:8080: EEXIST (already exists): it is " +
      "in the kernel's table already",
    ]);
    assert.equal(failures[0]!.error.operation, "add-destination");
    assert.equal(
      failures[0]!.error.object,
      "tcp 192.0.2.1:80 -> 10.0.0.1:8080".replace(
        "192.0.2.1:80",
        "192.0.2.9:9",
      ),
    );
    assert.deepEqual([...kernel.table().keys()], [serviceKey(web)]);
    assert.deepEqual([...kernel.table().get(serviceKey(web))!.destinations.keys()], [
      destinationKey(worker),
    ]);
  });
});

Deno.test("the extended acknowledgement is passed on", async () => {
  await withClient(async (client, kernel) => {
    kernel.intercept = ({ write }) => write ? 22 : 0;
    const [failure] = await client.apply([step.addService(service(web))]);
    assert.deepEqual(failure!.error.extendedAck, { message: "injected by the test", offset: 16 });
    assert.match(failure!.error.message, /; the kernel says: injected by the test \(byte 16 of/);
  });
});

Deno.test("a large table goes in few datagrams and comes back equal", async () => {
  await withClient(async (client, kernel) => {
    const socket = kernel.connect();
    using other = await IpvsClient.open(socket);
    const before = socket.datagrams;
    assert.deepEqual(await other.apply(filled(300, 10)), []);
    assert(socket.datagrams - before <= 8, `${socket.datagrams - before} datagrams`);
    assert.deepEqual(await client.read(), kernel.table());
  });
});

Deno.test("reading changes nothing, and nothing to do sends nothing", async () => {
  await withClient(async (client, kernel) => {
    await client.apply(filled(3, 3));
    kernel.clearLog();
    await client.read();
    assert.equal(kernel.writes, 0);
    assert.equal(kernel.reads, 4);
    kernel.clearLog();
    assert.deepEqual(await client.apply([]), []);
    assert.equal(kernel.log.length, 0);
  });
});

Deno.test("concurrent requests do not mix", async () => {
  await withClient(async (client, kernel) => {
    kernel.objectsPerDatagram = 2;
    kernel.busy = () => new Promise((resolve) => setTimeout(resolve, 1));
    const steps = filled(5, 5);
    const results = await Promise.all([
      client.apply(steps),
      client.read(),
      client.info(),
      client.readDestinations(address("10.1.0.0", 80)),
      client.apply(steps),
    ]);
    assert.equal(results[0].length, 0);
    assert.equal(results[1].size, 5);
    assert.equal(results[2].version, "1.2.1");
    assert.equal(results[3].size, 5);
    assert.equal(results[4].length, steps.length);
  });
});

Deno.test("what cannot be written fails alone", async () => {
  await withClient(async (client, kernel) => {
    const failures = await client.apply([
      step.addService(service(web, { scheduler: "ä" })),
      step.addService(service(web)),
      step.addService(service({ kind: "fwmark", family: "ipv4", fwmark: 0 })),
      // What it left half written is not repeated by the next.
      step.add(web, { ...worker, address: "nonsense" as Ip }),
      step.add(web, worker),
    ]);
    assert.deepEqual(failures.map(({ error }) => error.errnoName), ["EINVAL", "EINVAL", "EINVAL"]);
    assert.match(failures[1]!.error.message, /firewall mark 0 means none/);
    assert.match(failures[2]!.error.message, /not a canonical IP address: nonsense/);
    assert.deepEqual([...kernel.table().get(serviceKey(web))!.destinations.keys()], [
      destinationKey(worker),
    ]);
  });
});

Deno.test("lost answers are made up for by looking", async () => {
  await withClient(async (client, kernel) => {
    // Every second step fails, and the socket holds ten answers.
    const steps = filled(1, 100).flatMap((step) => [step, step]);
    kernel.replyCapacity = 10;
    const failures = await client.apply(steps);
    // Those that arrived are reported; of the others, the table shows what they asked for.
    assert.equal(failures.length, 10);
    assert(failures.every(({ error }) => error.errnoName === "EEXIST"));
    assert.equal((await client.readDestinations(address("10.1.0.0", 80))).size, 100);
  });
});

Deno.test("lost answers of steps that failed are found out", async () => {
  await withClient(async (client, kernel) => {
    const other = address("192.0.2.7", 7);
    kernel.loseReply = ({ write }) => write;
    kernel.intercept = ({ command, object }) =>
      command === "new-destination" && object.endsWith(":9999") ? 12 : 0;
    const failures = await client.apply([
      step.addService(service(web)),
      step.add(web, worker),
      step.add(web, destination("10.0.0.2", 9999)),
      step.edit(web, { ...worker, weight: 5 }),
      step.delete(web, destination("10.0.0.3", 80)),
      step.addService(service(other)),
      step.add(other, worker),
      step.deleteService(other),
    ]);
    assert.deepEqual(failures.map(({ error }) => error.object), [
      "tcp 192.0.2.1:80 -> 10.0.0.2:9999",
    ]);
    assert.equal(failures[0]!.error.errnoName, "ENOBUFS");
  });
});

Deno.test("a kernel that stops answering fails every step in bounded time", async () => {
  await withClient(async (client, kernel) => {
    kernel.loseReply = () => true;
    const steps = filled(1000, 3);
    const failures = await client.apply(steps);
    assert.equal(failures.length, steps.length);
    assert.equal(failures[0]!.error.errnoName, "ETIMEDOUT");
    kernel.loseReply = undefined;
    assert.equal((await client.info()).version, "1.2.1");
  });
});

Deno.test("a kernel that is busy for too long is given up, and recovers", async () => {
  await withClient(async (client, kernel) => {
    let wake = () => {};
    kernel.busy = () => new Promise((resolve) => wake = resolve);
    const failures = await client.apply([step.addService(service(web))]);
    assert.equal(failures[0]!.error.errnoName, "ETIMEDOUT");
    assert.match((await refused(client.read())).message, /still busy with earlier changes/);
    kernel.busy = undefined;
    wake();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.equal((await client.read()).size, 1);
  });
});

Deno.test("a dump is read again while it may be torn", async () => {
  await withClient(async (client, kernel) => {
    const id = address("10.1.0.0", 80);
    await client.apply(filled(1, 25));
    kernel.objectsPerDatagram = 10;
    let deletions = 0;
    // Deletes a destination that was dumped already: the eleventh falls through the cursor.
    kernel.betweenDatagrams = () => {
      const first = [...kernel.table().get(serviceKey(id))!.destinations.values()][0]!;
      if (deletions++ < 2) kernel.removeDestination(id, first.destination);
    };
    const read = await client.readDestinations(id);
    assert.deepEqual(read, kernel.table().get(serviceKey(id))!.destinations);
    // In one piece it cannot tear, and is read once.
    kernel.betweenDatagrams = undefined;
    kernel.objectsPerDatagram = 100;
    kernel.clearLog();
    await client.readDestinations(id);
    assert.equal(kernel.reads, 1);
  });
});

Deno.test("a list that never holds still is returned nevertheless", async () => {
  await withClient(async (client, kernel) => {
    const id = address("10.1.0.0", 80);
    await client.apply(filled(1, 25));
    kernel.objectsPerDatagram = 10;
    let next = 0;
    kernel.betweenDatagrams = () => {
      if (next++ % 3 === 0) kernel.putDestination(id, destination("10.9.0.1", next));
    };
    kernel.clearLog();
    assert((await client.readDestinations(id)).size > 25);
    assert.equal(kernel.reads, 4);
  });
});

Deno.test("a dump that was given up does not stand in the way of the next", async () => {
  await withClient(async (client, kernel) => {
    await client.apply(filled(30, 1));
    kernel.objectsPerDatagram = 10;
    const socket = kernel.connect();
    using other = await IpvsClient.open(socket);
    // A datagram that cannot be decoded ends the dump half-way; the kernel's goes on.
    socket.inject(new Uint8Array(20));
    assert.equal((await refused(other.read())).errnoName, "EBADMSG");
    assert.equal((await other.read()).size, 30);
  });
});

Deno.test("connections are read", async () => {
  await withClient(async (client, kernel) => {
    await client.apply([step.addService(service(web)), step.add(web, worker)]);
    kernel.setCounters(web, worker, { activeConnections: 3, inactiveConnections: 70_000 });
    assert.deepEqual((await client.readDestinations(web)).get(destinationKey(worker))?.counters, {
      activeConnections: 3,
      inactiveConnections: 70_000,
      persistentConnections: 0,
    });
  });
});

Deno.test("a closed client refuses", async () => {
  const kernel = new FakeKernel();
  const client = await IpvsClient.open(kernel.connect());
  client[Symbol.dispose]();
  await refused(client.read());
  const failures = await client.apply([step.addService(service(web))]);
  assert.equal(failures.length, 1);
});
