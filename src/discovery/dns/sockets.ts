/**
 * Sockets for unicast DNS queries, one a query. [shell]
 *
 * @module
 */
import { createSocket } from "node:dgram";
import { type Endpoint, familyOf, parseIp } from "../../model/address.ts";
import type { Nameserver } from "../../model/nameserver.ts";
import { maxMessageBytes } from "./query.ts";

/** What a socket tells, until it is disposed. */
export interface QueryEvents {
  onResponse(source: Endpoint, bytes: Uint8Array): void;
  onFailure(why: string): void;
}

/** The socket of a query. */
export interface QuerySocket extends AsyncDisposable {
  /** Closes it at once; nothing more is told. Resolves when the system is done with it as well. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Sends a query over UDP, from a port the kernel draws. */
export function queryOverUdp(
  server: Nameserver,
  query: Uint8Array,
  events: QueryEvents,
): QuerySocket {
  const socket = createSocket(familyOf(server.address) === "ipv4" ? "udp4" : "udp6");
  const closed = Promise.withResolvers<void>();
  let open = true;
  const fail = (error: Error | null) => {
    if (error && open) events.onFailure(`cannot be reached: ${error.message}`);
  };
  socket.on("close", closed.resolve);
  socket.on("error", fail);
  socket.on("message", (bytes, { address, port }) => {
    // A link-local sender may be shown with its zone.
    const source = parseIp(address.replace(/%.*$/, ""));
    if (open && source !== undefined) events.onResponse({ address: source, port }, bytes);
  });
  socket.send(query, server.port, hostOf(server), fail);
  return {
    async [Symbol.asyncDispose]() {
      if (open) socket.close();
      open = false;
      await closed.promise;
    },
  };
}

/** Sends a query over TCP and reads one answer (RFC 7766). */
export function queryOverTcp(
  server: Nameserver,
  query: Uint8Array,
  events: QueryEvents,
): QuerySocket {
  const abort = new AbortController();
  const { signal } = abort;
  let connection: Deno.TcpConn | undefined;
  const exchange = async () => {
    connection = await Deno.connect({ hostname: hostOf(server), port: server.port, signal });
    using open = connection;
    if (signal.aborted) return;
    const request = new Uint8Array(2 + query.length);
    new DataView(request.buffer).setUint16(0, query.length);
    request.set(query, 2);
    for (let sent = 0; sent < request.length;) sent += await open.write(request.subarray(sent));
    const answer = await readMessage(open);
    if (signal.aborted) return;
    if (answer) events.onResponse(server, answer);
    else events.onFailure("closes the connection before it has answered");
  };
  const running = exchange().catch((error: Error) => {
    if (!signal.aborted) events.onFailure(`cannot be reached over TCP: ${error.message}`);
  });
  return {
    async [Symbol.asyncDispose]() {
      abort.abort();
      try {
        connection?.close();
      } catch (error) {
        if (!(error instanceof Deno.errors.BadResource)) throw error;
      }
      await running;
    },
  };
}

/** Reads the two bytes of the length and what they announce; undefined when it ends before. */
async function readMessage(connection: Deno.TcpConn): Promise<Uint8Array | undefined> {
  const buffer = new Uint8Array(2 + maxMessageBytes);
  let length = 0;
  for (;;) {
    const end = length < 2 ? Infinity : 2 + (buffer[0]! << 8 | buffer[1]!);
    if (length >= end) return buffer.slice(2, end);
    const read = await connection.read(buffer.subarray(length));
    if (read === null) return undefined;
    length += read;
  }
}

function hostOf({ address, zone }: Nameserver): string {
  return zone === "" ? address : `${address}%${zone}`;
}
