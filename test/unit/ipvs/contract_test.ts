import { ipvsContract } from "../../contract/ipvs_contract.ts";
import { FakeKernel } from "../../fakes/fake_kernel.ts";
import {
  destinationKey,
  type Forwarding,
  ServiceFlag,
  type Tunnel,
  type VirtualServiceId,
  type VirtualServiceState,
} from "../../../src/model/ipvs.ts";
import { formatEndpoint } from "../../../src/model/address.ts";

const protocols = { tcp: "-t", udp: "-u", sctp: "--sctp-service" };
const forwardings: Partial<Record<Forwarding, string>> = {
  masquerade: "-m",
  direct: "-g",
  tunnel: "-i",
};

/** A table in the words of `ipvsadm -Sn`. */
function print(table: Iterable<VirtualServiceState>): string[] {
  const lines: string[] = [];
  for (const { service, destinations } of table) {
    const option = printId(service.id);
    let line = `-A ${option} -s ${service.scheduler}`;
    const { flags, persistencePrefix, persistenceEngine } = service;
    if (flags & ServiceFlag.persistent) {
      line += ` -p ${service.persistenceTimeout}`;
      if (persistencePrefix === 24) line += " -M 255.255.255.0";
      else if (persistencePrefix !== 32 && persistencePrefix !== 128) {
        line += ` -M ${persistencePrefix}`;
      }
    }
    if (persistenceEngine) line += ` --pe ${persistenceEngine}`;
    if (flags & ServiceFlag.onePacket) line += " -o";
    if (flags & ServiceFlag.scheduler1) line += " -b sh-fallback,sh-port";
    lines.push(line);
    for (const { destination } of destinations.values()) {
      const { forwarding, tunnel } = destination;
      lines.push(
        `-a ${option} -r ${destinationKey(destination)} ${forwardings[forwarding]} ` +
          `-w ${destination.weight}` + (forwarding === "tunnel" ? printTunnel(tunnel) : ""),
      );
    }
  }
  return lines.sort();
}

function printId(id: VirtualServiceId): string {
  return id.kind === "fwmark"
    ? `-f ${id.fwmark}${id.family === "ipv6" ? " -6" : ""}`
    : `${protocols[id.protocol]} ${formatEndpoint(id)}`;
}

function printTunnel({ type, port, flags }: Tunnel): string {
  const checksum = ["--tun-nocsum", "--tun-csum", "--tun-remcsum"][flags];
  return ` --tun-type ${type}` + (type === "gue" ? ` --tun-port ${port}` : "") +
    (type === "ipip" ? "" : ` ${checksum}`);
}

ipvsContract("fake kernel", () => {
  const kernel = new FakeKernel();
  return Promise.resolve({
    connect: () => kernel.connect(),
    witness: () => Promise.resolve(print(kernel.table().values())),
    thresholds: () =>
      Promise.resolve(
        [...kernel.table().values()].flatMap(({ destinations }) =>
          [...destinations.values()].map(({ destination }) =>
            `${destination.upperThreshold} ${destination.lowerThreshold}`
          )
        ),
      ),
    foreignAdd: (id, destination) => Promise.resolve(kernel.putDestination(id, destination)),
    foreignDelete: (id, destination) => Promise.resolve(kernel.removeDestination(id, destination)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
});
