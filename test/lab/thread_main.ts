/**
 * A traffic thread: real servers of the workers, or the real client. A Deno worker, since a network
 * namespace belongs to a thread, and starting one takes a third of starting a process.
 *
 * @module
 */
/// <reference lib="deno.worker" />
import { createSocket, type Socket } from "node:dgram";
import { enterNamespace, inNamespace, setNice } from "./linux.ts";
import type {
  Answer,
  Call,
  HttpResult,
  Operations,
  ServerStats,
  UdpResult,
} from "./thread_protocol.ts";

interface Server {
  readonly stats: () => ServerStats;
  readonly close: () => void;
}

interface Long {
  readonly connection: Deno.Conn;
  readonly reader: HttpReader;
  readonly url: URL;
}

const servers: Server[] = [];
const longs: Long[] = [];

type Handlers = {
  [Name in keyof Operations]: (
    options: Parameters<Operations[Name]>[0],
  ) => ReturnType<Operations[Name]> | Promise<ReturnType<Operations[Name]>>;
};

const handlers: Handlers = {
  enter: ({ namespace, nice }) => {
    enterNamespace(namespace);
    setNice(nice);
  },
  listenHttp: ({ namespace, name, port }) => servers.push(httpServer(namespace, name, port)) - 1,
  listenUdp: ({ namespace, name, port }) => servers.push(udpServer(namespace, name, port)) - 1,
  stats: ({ server }) => servers[server]!.stats(),
  closeServer: ({ server }) => servers[server]!.close(),
  requests: async ({ url, count, parallel, timeoutMs }) => {
    const results: HttpResult[] = [];
    let next = 0;
    const target = new URL(url);
    const runner = async () => {
      while (next < count) {
        const index = next++;
        results[index] = await request(target, timeoutMs);
      }
    };
    await Promise.all(Array.from({ length: Math.min(parallel, count) }, runner));
    return results;
  },
  datagrams: async ({ address, port, payload, count, timeoutMs }) => {
    const results: UdpResult[] = [];
    for (let i = 0; i < count; i++) {
      results.push(await datagram(address, port, payload, timeoutMs));
    }
    return results;
  },
  openLong: async ({ url, timeoutMs }) => {
    const target = new URL(url);
    const connection = await within(timeoutMs, "connect", connect(target));
    return longs.push({ connection, reader: new HttpReader(connection), url: target }) - 1;
  },
  exchange: async ({ connection, timeoutMs, path }) => {
    const { connection: conn, reader, url } = longs[connection]!;
    const started = performance.now();
    try {
      return await within(
        timeoutMs,
        "exchange",
        (async () => {
          await sendRequest(conn, new URL(path, url), false);
          const response = await reader.response();
          return { ...response, ms: performance.now() - started };
        })(),
      );
    } catch (error) {
      return { status: 0, body: "", error: String(error), ms: performance.now() - started };
    }
  },
  closeLong: async ({ connection, reset }) => {
    const { connection: conn, url } = longs[connection]!;
    if (reset) {
      // Closing with data unread makes the kernel send RST instead of FIN.
      await sendRequest(conn, url, false);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    conn.close();
  },
};

self.onmessage = async ({ data }: MessageEvent<Call>) => {
  const answer: Answer = await (async () => {
    try {
      const handler = handlers[data.operation] as (options: unknown) => unknown;
      return { id: data.id, value: await handler(data.options) };
    } catch (error) {
      return { id: data.id, error: error instanceof Error ? error.message : String(error) };
    }
  })();
  self.postMessage(answer);
};

/** Answers `/` with its name, `/slow?ms=`, `/stream?ms=&count=`, `/bytes?size=`, `/peer`. */
function httpServer(namespace: string, name: string, port: number): Server {
  let requests = 0;
  const peers = new Set<string>();
  const handle = async (
    message: Request,
    info: Deno.ServeHandlerInfo<Deno.NetAddr>,
  ): Promise<Response> => {
    requests++;
    const peer = `${info.remoteAddr.hostname}:${info.remoteAddr.port}`;
    peers.add(peer);
    const url = new URL(message.url);
    const ms = Number(url.searchParams.get("ms") ?? 0);
    const headers = { "x-worker": name, "content-type": "text/plain" };
    switch (url.pathname) {
      case "/slow":
        await new Promise((resolve) => setTimeout(resolve, ms));
        return new Response(name, { headers });
      case "/stream": {
        let left = Number(url.searchParams.get("count") ?? 10);
        const body = new ReadableStream<Uint8Array>({
          async pull(controller) {
            if (left-- <= 0) return controller.close();
            await new Promise((resolve) => setTimeout(resolve, ms));
            controller.enqueue(new TextEncoder().encode(`${name}\n`));
          },
        });
        return new Response(body, { headers });
      }
      case "/bytes":
        return new Response("x".repeat(Number(url.searchParams.get("size") ?? 1)), { headers });
      case "/peer":
        return new Response(peer, { headers });
      case "/":
        return new Response(name, { headers });
      default:
        return new Response(`${name} has no ${url.pathname}\n`, { status: 404, headers });
    }
  };
  const ending = new AbortController();
  // One listener for both families: the kernel's default for [::] takes IPv4 too.
  inNamespace(namespace, () =>
    Deno.serve({
      hostname: "::",
      port,
      signal: ending.signal,
      onListen: () => {},
      handler: handle,
    }));
  return {
    stats: () => ({ requests, connections: peers.size }),
    close: () => ending.abort(),
  };
}

/** Answers each datagram with its name, a space and what it got. */
function udpServer(namespace: string, name: string, port: number): Server {
  let requests = 0;
  const peers = new Set<string>();
  // A socket for each family: an answer must leave from the address that was asked.
  const sockets = inNamespace(
    namespace,
    () =>
      [udpSocket("udp4"), udpSocket("udp6")].map((socket) => {
        socket.bind(port);
        // Bound at once, thanks to the synchronous lookup; else it would be in the wrong namespace.
        socket.address();
        return socket;
      }),
  );
  for (const socket of sockets) {
    socket.on("message", (data: Uint8Array, from: { address: string; port: number }) => {
      requests++;
      peers.add(`${from.address}:${from.port}`);
      socket.send(`${name} ${new TextDecoder().decode(data)}`, from.port, from.address);
    });
    socket.on("error", () => {});
  }
  return {
    stats: () => ({ requests, connections: peers.size }),
    close: () => sockets.forEach((each) => each.close()),
  };
}

function udpSocket(type: "udp4" | "udp6"): Socket {
  return createSocket({
    type,
    ipv6Only: type === "udp6",
    lookup: (host, _options, done) => done(null, host, type === "udp4" ? 4 : 6),
  });
}

async function request(url: URL, timeoutMs: number): Promise<HttpResult> {
  const started = performance.now();
  let connection: Deno.Conn | undefined;
  try {
    return await within(
      timeoutMs,
      "request",
      (async () => {
        connection = await connect(url);
        await sendRequest(connection, url, true);
        const response = await new HttpReader(connection).response();
        return { ...response, ms: performance.now() - started };
      })(),
    );
  } catch (error) {
    return { status: 0, body: "", error: String(error), ms: performance.now() - started };
  } finally {
    try {
      connection?.close();
    } catch {
      // Already closed by the runtime after a reset.
    }
  }
}

async function datagram(
  hostname: string,
  port: number,
  payload: string,
  timeoutMs: number,
): Promise<UdpResult> {
  const started = performance.now();
  const socket = udpSocket(hostname.includes(":") ? "udp6" : "udp4");
  try {
    const body = await within(
      timeoutMs,
      "datagram",
      new Promise<string>((resolve, reject) => {
        socket.once("message", (data: Uint8Array) => resolve(new TextDecoder().decode(data)));
        socket.once("error", reject);
        socket.send(payload, port, hostname);
      }),
    );
    return { body, ms: performance.now() - started };
  } catch (error) {
    return { body: "", error: String(error), ms: performance.now() - started };
  } finally {
    socket.close();
  }
}

function connect(url: URL): Promise<Deno.TcpConn> {
  return Deno.connect({
    hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(url.port || 80),
  });
}

async function sendRequest(connection: Deno.Conn, url: URL, last: boolean): Promise<void> {
  const bytes = new TextEncoder().encode(
    `GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\n` +
      `connection: ${last ? "close" : "keep-alive"}\r\n\r\n`,
  );
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Reads HTTP/1.1 responses one after the other; fetch() would hide the connections. */
class HttpReader {
  readonly #connection: Deno.Conn;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  async response(): Promise<{ status: number; body: string }> {
    while (!this.#text.includes("\r\n\r\n")) await this.#more();
    const head = this.#take(this.#text.indexOf("\r\n\r\n") + 4);
    const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0);
    const length = /^content-length: (\d+)/im.exec(head)?.[1];
    if (length !== undefined) {
      while (this.#text.length < Number(length)) await this.#more();
      return { status, body: this.#take(Number(length)) };
    }
    let body = "";
    for (;;) {
      while (!this.#text.includes("\r\n")) await this.#more();
      const size = parseInt(this.#take(this.#text.indexOf("\r\n") + 2), 16);
      while (this.#text.length < size + 2) await this.#more();
      body += this.#take(size);
      this.#take(2);
      if (!(size > 0)) return { status, body };
    }
  }

  #take(length: number): string {
    const taken = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return taken;
  }

  async #more(): Promise<void> {
    const buffer = new Uint8Array(16384);
    const read = await this.#connection.read(buffer);
    if (read === null) throw new Error("the connection was closed");
    this.#text += this.#decoder.decode(buffer.subarray(0, read), { stream: true });
  }
}

async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what}: no answer within ${ms} ms`)), ms);
      }),
    ]);
  } finally {
    clearTimeout(timer);
    work.catch(() => {});
  }
}
