/**
 * What the main thread and a traffic thread say to each other.
 *
 * @module
 */

/** One HTTP request's outcome. `error` is set when there was no answer. */
export interface HttpResult {
  readonly status: number;
  readonly body: string;
  readonly error?: string;
  readonly ms: number;
}

/** One datagram's outcome. */
export interface UdpResult {
  readonly body: string;
  readonly error?: string;
  readonly ms: number;
}

/** How a server is doing. */
export interface ServerStats {
  readonly requests: number;
  /** Connections it has accepted. */
  readonly connections: number;
}

/** Operations by name: what they take and what they give. */
export interface Operations {
  enter: (options: { namespace: string; nice: number }) => void;
  listenHttp: (
    options: { namespace: string; name: string; port: number },
  ) => number;
  listenUdp: (options: { namespace: string; name: string; port: number }) => number;
  stats: (options: { server: number }) => ServerStats;
  closeServer: (options: { server: number }) => void;
  requests: (
    options: { url: string; count: number; parallel: number; timeoutMs: number },
  ) => HttpResult[];
  datagrams: (
    options: { address: string; port: number; payload: string; count: number; timeoutMs: number },
  ) => UdpResult[];
  openLong: (options: { url: string; timeoutMs: number }) => number;
  exchange: (options: { connection: number; timeoutMs: number; path: string }) => HttpResult;
  closeLong: (options: { connection: number; reset: boolean }) => void;
}

/** A call as it travels. */
export interface Call {
  readonly id: number;
  readonly operation: keyof Operations;
  readonly options: unknown;
}

/** Its answer. */
export interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}
