/**
 * The contract of the kernel, held against the real one, with ipvsadm as the witness; and the fake
 * kernel held against the real one with random changes.
 */
import { assert, fc } from "../testing.ts";
import { ipvsContract, type Kernel } from "../contract/ipvs_contract.ts";
import { FakeKernel } from "../fakes/fake_kernel.ts";
import { steps as randomSteps } from "../fakes/ipvs_arbitraries.ts";
import { openNetlinkSocket } from "../../ffi/netlink_socket.ts";
import { formatEndpoint } from "../../src/model/address.ts";
import { IpvsClient } from "../../src/ipvs/client.ts";
import {
  type Destination,
  destinationKey,
  type VirtualServiceId,
  type VirtualServiceState,
} from "../../src/model/ipvs.ts";
import { inLab } from "./linux.ts";

async function run(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  const text = new TextDecoder();
  assert(success, `${command} ${args.join(" ")}: ${text.decode(stderr)}`);
  return text.decode(stdout);
}

async function witness(): Promise<string[]> {
  return (await run("ipvsadm", "-Sn")).split("\n")
    .map((line) => line.trim().replaceAll(/\s+/g, " "))
    .filter((line) => line !== "").sort();
}

async function thresholds(): Promise<string[]> {
  return (await run("ipvsadm", "-Ln", "--thresholds")).split("\n")
    .filter((line) => /^ {2}-> [^R]/.test(line))
    .map((line) => line.trim().split(/\s+/).slice(2, 4).join(" "));
}

// Starting a program takes a tenth of a second in user-mode-linux: none is started in vain.

let prepared = false;

async function clear(): Promise<void> {
  if (!prepared) {
    // Without an address every destination would be refused.
    await run("ip", "link", "set", "lo", "up");
    prepared = true;
  }
  // Three lines are the heading.
  if (Deno.readTextFileSync("/proc/net/ip_vs").trim().split("\n").length > 3) {
    await run("ipvsadm", "-C");
  }
}

const options = { tcp: "-t", udp: "-u", sctp: "--sctp-service" };

function ipvsadmService(id: VirtualServiceId): string[] {
  if (id.kind === "address") return [options[id.protocol], formatEndpoint(id)];
  return ["-f", String(id.fwmark), ...(id.family === "ipv6" ? ["-6"] : [])];
}

async function realKernel(): Promise<Kernel> {
  await clear();
  const destination = (destination: Destination) => ["-r", destinationKey(destination)];
  return {
    connect: () => openNetlinkSocket(),
    witness,
    thresholds,
    foreignAdd: async (id, worker) => {
      await run("ipvsadm", "-a", ...ipvsadmService(id), ...destination(worker), "-m");
    },
    foreignDelete: async (id, worker) => {
      await run("ipvsadm", "-d", ...ipvsadmService(id), ...destination(worker));
    },
    [Symbol.asyncDispose]: clear,
  };
}

/** What can be compared: the real kernel lists in an order of its own. */
function comparable(table: ReadonlyMap<string, VirtualServiceState>): unknown {
  return [...table].map(([key, { service, destinations }]) => ({
    key,
    service,
    destinations: [...destinations].sort(([a], [b]) => (a < b ? -1 : 1)),
  })).sort((a, b) => (a.key < b.key ? -1 : 1));
}

if (inLab) {
  ipvsContract("real kernel", realKernel);

  Deno.test("the fake kernel does what the real one does", async () => {
    await using _kernel = await realKernel();
    using real = await IpvsClient.open(openNetlinkSocket());
    await fc.assert(
      fc.asyncProperty(randomSteps, async (steps) => {
        await clear();
        using fake = await IpvsClient.open(new FakeKernel().connect());
        const [expected, failures] = [await real.apply(steps), await fake.apply(steps)];
        assert.deepEqual(
          failures.map(({ step, error }) => [error.errnoName, error.object, steps.indexOf(step)]),
          expected.map(({ step, error }) => [error.errnoName, error.object, steps.indexOf(step)]),
        );
        assert.deepEqual(comparable(await fake.read()), comparable(await real.read()));
      }),
      { numRuns: 30 },
    );
  });
}
