/**
 * Reads and changes the kernel's IPVS table over a generic netlink socket. [shell]
 *
 * What is known of the kernel (net/netfilter/ipvs/ip_vs_ctl.c, net/netlink/af_netlink.c) and used:
 *
 * - A datagram's messages are executed in order, one by one, within the send, each for itself: one
 *   that fails does not stop the next. Its error comes even when no acknowledgement was asked for.
 *   So many steps travel in one datagram, and only the last asks for an acknowledgement; when that is
 *   there, what has not been reported as failed has been done.
 * - One dump at a time runs on a socket.
 * - A dump's datagram is filled under IPVS's lock, but between two datagrams the table may change, and
 *   the dump goes on at an index: objects are missed or come twice, and nothing tells
 *   (NLM_F_DUMP_INTR is never set). A dump that fits one datagram is consistent; a longer one is
 *   repeated until two agree.
 *
 * @module
 */
import {
  destinationKey,
  type DestinationState,
  sameDestination,
  sameService,
  serviceFamily,
  serviceKey,
  type VirtualService,
  type VirtualServiceId,
  type VirtualServiceState,
} from "../model/ipvs.ts";
import { type Step, stepServiceId } from "../model/step.ts";
import {
  decodeDestination,
  decodeInfo,
  decodeService,
  encodeDumpDestinations,
  encodeDumpServices,
  encodeGetInfo,
  encodeGetService,
  encodeStep,
  familyName,
  type IpvsInfo,
  type LastService,
} from "./codec.ts";
import { Errno } from "./errno.ts";
import {
  capabilityHint,
  familyHint,
  NetlinkError,
  type NetlinkErrorInit,
  type StepFailure,
  stepFailure,
} from "./error.ts";
import { decodeFamilyId, encodeGetFamily } from "./genetlink.ts";
import {
  type Acknowledgement,
  decodeAcknowledgement,
  DecodeError,
  MessageFlag,
  MessageReader,
  MessageType,
  MessageWriter,
} from "./netlink.ts";
import type { Transport } from "./transport.ts";

/** Waiting limits in milliseconds. */
export interface IpvsClientOptions {
  /** For an answer, once the request is sent: it is there already unless it was lost. */
  readonly replyTimeout?: number;
  /** For the kernel to execute one datagram of changes. */
  readonly sendTimeout?: number;
}

/**
 * Steps travel in datagrams of about this many bytes. Each costs a hop to another thread and back
 * (20 us; 1 ms under user-mode-linux); the answers, if all of the some 4,000 steps fail, take a quarter
 * of the receive buffer.
 */
const batchSize = 256 * 1024;

/** So many changes of destinations take the kernel less time than a hop to another thread. */
const quickSteps = 16;

/** About how many bytes a step takes. */
const messageSize = 128;

/** How often a dump is read at most until two agree. */
const dumpAttempts = 4;

/** A dump or a batch whose answers nobody waits for leaves at most this many datagrams behind. */
const drainLimit = 100_000;

/**
 * The IPVS table of this network namespace. Requests run one at a time, in the order they were made.
 *
 * Everything it rejects with is a {@link NetlinkError}. Every wait has a limit.
 */
export class IpvsClient implements Disposable {
  readonly #transport: Transport;
  readonly #replyTimeout: number;
  readonly #sendTimeout: number;
  readonly #request = new MessageWriter(256);
  /** Two buffers for changes: while the kernel works on one, the other is written. */
  #writer = new MessageWriter();
  #spareWriter = new MessageWriter();
  #familyId = 0;
  #sequence = 0;
  #last: Promise<unknown> = Promise.resolve();
  /** A send that outlived its limit: while it lasts, the kernel would let no other through. */
  #overdue: Promise<void> | undefined;

  private constructor(transport: Transport, options: IpvsClientOptions) {
    this.#transport = transport;
    this.#replyTimeout = options.replyTimeout ?? 5_000;
    this.#sendTimeout = options.sendTimeout ?? 300_000;
  }

  /**
   * Finds the IPVS family and tries whether it may be used. Takes the transport over: it is disposed
   * with the client, also when this fails.
   *
   * @throws {NetlinkError} ENOENT where the kernel has no IPVS, EPERM without the capability.
   */
  static async open(transport: Transport, options: IpvsClientOptions = {}): Promise<IpvsClient> {
    const client = new IpvsClient(transport, options);
    try {
      client.#familyId = await client.#findFamily();
      await client.info();
      return client;
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
  }

  /** Closes the transport. */
  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  /** What the kernel says about IPVS as a whole. */
  info(): Promise<IpvsInfo> {
    return this.#exclusively(() => this.#info());
  }

  /**
   * The whole table: a dump of the virtual services, then one of each one's destinations.
   *
   * Not a snapshot: a virtual service deleted between the dumps appears without destinations. Lists of
   * more than about a hundred, which may tear, are read until two readings agree, at most four times.
   * Who acts upon the result must take ENOENT, ESRCH and EEXIST for the news they are, and read again.
   */
  read(): Promise<Map<string, VirtualServiceState>> {
    return this.#exclusively(async () => {
      const services = await this.#readServices();
      const table = new Map<string, VirtualServiceState>();
      for (const [key, service] of services) {
        const destinations = await this.#readDestinations(service.id);
        table.set(key, { service, destinations });
      }
      return table;
    });
  }

  /**
   * The destinations of one virtual service, as in {@link read}. Empty when there is no such service:
   * the kernel does not tell the difference.
   */
  readDestinations(id: VirtualServiceId): Promise<Map<string, DestinationState>> {
    return this.#exclusively(() => this.#readDestinations(id));
  }

  /**
   * Takes the steps in order and returns those that failed, in order; a failed one does not stop the
   * others. When answers were lost, the kernel's table is read, and a step counts as failed
   * where the table does not show what it asked for.
   *
   * Never rejects for what the kernel answers; a socket that does not work fails every step.
   */
  apply(steps: readonly Step[]): Promise<StepFailure[]> {
    if (steps.length === 0) return Promise.resolve([]);
    return this.#exclusively(() => this.#apply(steps));
  }

  /** Runs `work` when all earlier work is done, however that ended. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.then(ignore, ignore);
    return result;
  }

  // Reading

  async #findFamily(): Promise<number> {
    const subject = { operation: "find-family", object: familyName } as const;
    try {
      const answer = await this.#ask(
        subject,
        (writer, sequence) => encodeGetFamily(writer, familyName, sequence),
        decodeFamilyId,
      );
      if (answer !== undefined) return answer;
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.errno !== Errno.ENOENT) throw error;
    }
    throw new NetlinkError({ ...subject, errno: Errno.ENOENT, hint: familyHint });
  }

  #info(): Promise<IpvsInfo> {
    return this.#ask(
      { operation: "read-info", object: familyName },
      (writer, sequence) => encodeGetInfo(writer, this.#familyId, sequence),
      decodeInfo,
    );
  }

  async #readServices(): Promise<Map<string, VirtualService>> {
    return await this.#dump(
      { operation: "read-services", object: "the virtual services" },
      (writer, sequence) => encodeDumpServices(writer, this.#familyId, sequence),
      (message, into) => {
        const service = decodeService(message);
        if (service) into.set(serviceKey(service.id), service);
      },
    );
  }

  async #readDestinations(id: VirtualServiceId): Promise<Map<string, DestinationState>> {
    const family = serviceFamily(id);
    return await this.#dump(
      { operation: "read-destinations", object: id },
      (writer, sequence) => encodeDumpDestinations(writer, this.#familyId, sequence, id),
      (message, into) => {
        const state = decodeDestination(message, family);
        if (state) into.set(destinationKey(state.destination), state);
      },
    );
  }

  /** One virtual service, or undefined where there is none. */
  async #readService(id: VirtualServiceId): Promise<VirtualService | undefined> {
    try {
      return await this.#ask(
        { operation: "read-services", object: id },
        (writer, sequence) => encodeGetService(writer, this.#familyId, sequence, id),
        decodeService,
      );
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === Errno.ESRCH) return undefined;
      throw error;
    }
  }

  /** Sends a request that has one answer. */
  async #ask<T>(
    subject: Subject,
    encode: (writer: MessageWriter, sequence: number) => void,
    decode: (message: MessageReader) => T,
  ): Promise<T> {
    const sequence = await this.#send(subject, encode);
    for (;;) {
      const message = new MessageReader(await this.#receive(subject));
      try {
        while (message.next()) {
          // What remains of a request that was given up.
          if (message.sequence !== sequence) continue;
          if (message.type !== MessageType.error) return decode(message);
          throw refusal(subject, decodeAcknowledgement(message));
        }
      } catch (error) {
        throw understandable(subject, error);
      }
    }
  }

  /** Reads a list, again while it may be torn. */
  async #dump<T>(
    subject: Subject,
    encode: (writer: MessageWriter, sequence: number) => void,
    decode: (message: MessageReader, into: Map<string, T>) => void,
  ): Promise<Map<string, T>> {
    let previous: Map<string, T> | undefined;
    for (let attempt = 1;; attempt++) {
      const result = new Map<string, T>();
      let consistent: boolean;
      try {
        consistent = await this.#dumpOnce(subject, encode, (message) => decode(message, result));
      } catch (error) {
        if (attempt === dumpAttempts || !mayPass(error)) throw understandable(subject, error);
        await this.#drain();
        continue;
      }
      // After the last attempt the list is what it is: the next pass reads again.
      if (consistent || attempt === dumpAttempts || (previous && sameKeys(previous, result))) {
        return result;
      }
      previous = result;
    }
  }

  /** Returns whether the list came in one piece. */
  async #dumpOnce(
    subject: Subject,
    encode: (writer: MessageWriter, sequence: number) => void,
    visit: (message: MessageReader) => void,
  ): Promise<boolean> {
    const sequence = await this.#send(subject, encode);
    let pieces = 0;
    let interrupted = false;
    for (;;) {
      const message = new MessageReader(await this.#receive(subject));
      let piece = 0;
      while (message.next()) {
        if (message.sequence !== sequence) continue;
        if ((message.flags & MessageFlag.dumpInterrupted) !== 0) interrupted = true;
        if (message.type === MessageType.error || message.type === MessageType.done) {
          const acknowledgement = decodeAcknowledgement(message);
          if (acknowledgement.errno !== 0) throw refusal(subject, acknowledgement);
          return pieces + piece <= 1 && !interrupted;
        }
        piece = 1;
        visit(message);
      }
      pieces += piece;
    }
  }

  // Changing

  async #apply(steps: readonly Step[]): Promise<StepFailure[]> {
    const outcomes: Outcome[] = steps.map(() => undefined);
    let running = Promise.resolve();
    try {
      for (let at = 0; at < steps.length;) {
        const batch = this.#encodeBatch(steps, at, outcomes);
        at = batch.end;
        await running;
        running = this.#applyBatch(batch, steps, outcomes);
        [this.#writer, this.#spareWriter] = [this.#spareWriter, this.#writer];
      }
      await running;
    } catch (error) {
      // The socket does not work, or nothing answers any more: what is unknown has failed.
      const hint = describe(error);
      for (const [index, step] of steps.entries()) {
        if (outcomes[index] !== undefined) continue;
        outcomes[index] = stepFailure(step, errnoOf(error), undefined, hint, error);
      }
    }
    return outcomes.filter(isFailure);
  }

  /** Writes steps from `start` on until the batch is full; those that cannot be written have failed. */
  #encodeBatch(steps: readonly Step[], start: number, outcomes: Outcome[]): Batch {
    const writer = this.#writer;
    const first = (this.#sequence + 1) >>> 0;
    let end = start;
    let last = -1;
    let lastMessage = 0;
    const lastService: LastService = { id: undefined, from: 0, to: 0 };
    writer.reset();
    writer.reserve(Math.min(batchSize, (steps.length - start) * messageSize) + 4096);
    for (; end < steps.length && writer.length < batchSize; end++) {
      const step = steps[end]!;
      const message = writer.length;
      try {
        encodeStep(writer, this.#familyId, (first + end - start) >>> 0, step, lastService);
        last = end;
        lastMessage = message;
      } catch (error) {
        writer.reset(message);
        lastService.id = undefined;
        outcomes[end] = stepFailure(step, Errno.EINVAL, undefined, describe(error), error);
      }
    }
    if (last >= 0) writer.addFlags(lastMessage, MessageFlag.ack);
    this.#sequence = (first + end - start) >>> 0;
    return { datagram: writer.bytes, first, start, end, last };
  }

  async #applyBatch(batch: Batch, steps: readonly Step[], outcomes: Outcome[]): Promise<void> {
    if (batch.last < 0) return;
    if (!this.#overdue && isQuick(batch, steps)) {
      await this.#transport.send(batch.datagram, "quick");
    } else await this.#sendChanges(batch.datagram);
    let lost = 0;
    for (;;) {
      try {
        // Every answer that was not lost is there by now.
        const datagram = await this.#transport.receive(lost > 0 ? 0 : this.#replyTimeout);
        if (datagram === null) {
          lost++;
          break;
        }
        readAnswers(datagram, batch, steps, outcomes);
        if (lost === 0 && outcomes[batch.last] !== undefined) break;
      } catch (error) {
        const overrun = errnoOf(error) === Errno.ENOBUFS || error instanceof DecodeError;
        if (!overrun || ++lost > dumpAttempts) throw error;
      }
    }
    if (lost > 0) await this.#confirm(batch, steps, outcomes);
    for (let index = batch.start; index < batch.end; index++) outcomes[index] ??= "taken";
  }

  /** Looks in the kernel's table for what the steps of a batch whose answers were lost have done. */
  async #confirm(batch: Batch, steps: readonly Step[], outcomes: Outcome[]): Promise<void> {
    interface Expected {
      readonly id: VirtualServiceId;
      service: number | undefined;
      readonly destinations: Map<string, number>;
    }
    // The last step on an object says what the table should show; it answers for the earlier ones.
    const expected = new Map<string, Expected>();
    for (let index = batch.start; index < batch.end; index++) {
      if (isFailure(outcomes[index])) continue;
      const step = steps[index]!;
      const id = stepServiceId(step);
      const key = serviceKey(id);
      let entry = expected.get(key);
      if (!entry) expected.set(key, entry = { id, service: undefined, destinations: new Map() });
      if ("destination" in step) {
        entry.destinations.set(destinationKey(step.destination), index);
      } else {
        entry.service = index;
        if (step.op === "delete-service") entry.destinations.clear();
      }
    }
    const check = (index: number, right: boolean) => {
      if (outcomes[index] !== undefined || right) return;
      const hint = "the kernel's table does not show the change";
      outcomes[index] = stepFailure(steps[index]!, Errno.ENOBUFS, undefined, hint);
    };
    for (const { id, service, destinations } of expected.values()) {
      if (service !== undefined && outcomes[service] === undefined) {
        const step = steps[service]!;
        const found = await this.#readService(id);
        check(
          service,
          "service" in step ? found !== undefined && sameService(found, step.service) : !found,
        );
      }
      if (![...destinations.values()].some((index) => outcomes[index] === undefined)) continue;
      const found = await this.#readDestinations(id);
      for (const [key, index] of destinations) {
        const step = steps[index]!;
        const state = found.get(key);
        check(
          index,
          step.op === "add-destination" || step.op === "edit-destination"
            ? state !== undefined && sameDestination(state.destination, step.destination)
            : !state,
        );
      }
    }
  }

  // The transport

  #nextSequence(): number {
    return this.#sequence = (this.#sequence + 1) >>> 0;
  }

  /** Sends a request to read; returns its sequence number. */
  async #send(
    subject: Subject,
    encode: (writer: MessageWriter, sequence: number) => void,
  ): Promise<number> {
    const sequence = this.#nextSequence();
    this.#request.reset();
    encode(this.#request, sequence);
    try {
      if (this.#overdue) throw overdue();
      await this.#transport.send(this.#request.bytes, "quick");
    } catch (error) {
      throw failure(subject, errnoOf(error), describe(error), error);
    }
    return sequence;
  }

  /** Sends changes; gives up waiting after the limit, though not the kernel executing them. */
  async #sendChanges(datagram: Uint8Array): Promise<void> {
    if (this.#overdue) throw overdue();
    const sending = this.#transport.send(datagram, "slow");
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#overdue = sending.then(ignore, ignore).then(() => this.#overdue = undefined);
        // The kernel still reads from one of these.
        this.#writer = new MessageWriter();
        this.#spareWriter = new MessageWriter();
        reject(overdue());
      }, this.#sendTimeout);
    });
    try {
      await Promise.race([sending, limit]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #receive(subject: Subject): Promise<Uint8Array> {
    let datagram: Uint8Array | null;
    try {
      datagram = await this.#transport.receive(this.#replyTimeout);
    } catch (error) {
      throw failure(subject, errnoOf(error), describe(error), error);
    }
    if (datagram === null) {
      throw failure(subject, Errno.ETIMEDOUT, `waited ${this.#replyTimeout} ms`);
    }
    return datagram;
  }

  /** Takes what an abandoned request left behind, so that the next finds the socket free. */
  async #drain(): Promise<void> {
    for (let i = 0; i < drainLimit; i++) {
      try {
        if (await this.#transport.receive(0) === null) return;
      } catch (error) {
        if (errnoOf(error) !== Errno.ENOBUFS) return;
      }
    }
  }
}

/** What a request is about, for its error. */
interface Subject {
  readonly operation: NetlinkErrorInit["operation"];
  readonly object: string | VirtualServiceId;
}

/** What became of a step; undefined while that is unknown. */
type Outcome = StepFailure | "taken" | undefined;

function isFailure(outcome: Outcome): outcome is StepFailure {
  return outcome !== undefined && outcome !== "taken";
}

/** Steps in one datagram. The step at index i has the sequence number `first + i - start`. */
interface Batch {
  readonly datagram: Uint8Array;
  readonly first: number;
  /** Indexes of the first step and of the one behind the last. */
  readonly start: number;
  readonly end: number;
  /** Index of the last step that could be written, which asks for an acknowledgement; or -1. */
  readonly last: number;
}

/** Notes what the kernel answered to the steps of a batch. */
function readAnswers(
  datagram: Uint8Array,
  batch: Batch,
  steps: readonly Step[],
  outcomes: Outcome[],
): void {
  const message = new MessageReader(datagram);
  while (message.next()) {
    const index = batch.start + ((message.sequence - batch.first) >>> 0);
    // Others belong to a request that was given up.
    if (message.type !== MessageType.error || index >= batch.end) continue;
    const { errno, extendedAck } = decodeAcknowledgement(message);
    outcomes[index] = errno === 0 ? "taken" : stepFailure(steps[index]!, errno, extendedAck);
  }
}

function failure(subject: Subject, errno: number, hint?: string, cause?: unknown): NetlinkError {
  const { operation, object } = subject;
  return new NetlinkError({
    operation,
    object: typeof object === "string" ? object : serviceKey(object),
    errno,
    hint,
    cause,
  });
}

/** The error for a request to read that the kernel refused. */
function refusal(subject: Subject, { errno, extendedAck }: Acknowledgement): NetlinkError {
  const { operation, object } = subject;
  return new NetlinkError({
    operation,
    object: typeof object === "string" ? object : serviceKey(object),
    errno,
    extendedAck,
    hint: errno === Errno.EPERM || errno === Errno.EACCES ? capabilityHint : undefined,
  });
}

/** The same error, or the one that says that an answer could not be decoded. */
function understandable(subject: Subject, error: unknown): unknown {
  return error instanceof DecodeError
    ? failure(subject, Errno.EBADMSG, error.message, error)
    : error;
}

function overdue(): Error & { errno: number } {
  return Object.assign(new Error("the kernel is still busy with earlier changes"), {
    errno: Errno.ETIMEDOUT,
  });
}

/** The number a transport's error carries. */
function errnoOf(error: unknown): number {
  if (error instanceof DecodeError) return Errno.EBADMSG;
  const errno = (error as { errno?: unknown } | undefined)?.errno;
  return typeof errno === "number" ? errno : Errno.EIO;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether a dump that failed like this is worth another attempt. */
function mayPass(error: unknown): boolean {
  return error instanceof NetlinkError &&
    (error.errno === Errno.EBUSY || error.errno === Errno.ENOBUFS);
}

function sameKeys(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  if (a.size !== b.size) return false;
  for (const key of a.keys()) {
    if (!b.has(key)) return false;
  }
  return true;
}

function ignore(): void {}

/** True for a few changes of destinations: none of them waits for RCU. */
function isQuick({ start, end }: Batch, steps: readonly Step[]): boolean {
  if (end - start > quickSteps) return false;
  for (let index = start; index < end; index++) if (!("destination" in steps[index]!)) return false;
  return true;
}
