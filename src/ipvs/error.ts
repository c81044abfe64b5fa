/**
 * The one error of this directory, in words a person can act upon.
 *
 * @module
 */
import { type Step, stepObject } from "../model/step.ts";
import { Errno, errnoName, errnoText } from "./errno.ts";
import type { ExtendedAck } from "./netlink.ts";

/** What was asked of the kernel. */
export type Operation =
  | Step["op"]
  | "find-family"
  | "read-info"
  | "read-services"
  | "read-destinations";

const phrases: Readonly<Record<Operation, string>> = {
  "add-service": "cannot add virtual service",
  "edit-service": "cannot change virtual service",
  "delete-service": "cannot delete virtual service",
  "add-destination": "cannot add destination",
  "edit-destination": "cannot change destination",
  "delete-destination": "cannot delete destination",
  "find-family": "cannot find netlink family",
  "read-info": "cannot use",
  "read-services": "cannot read",
  "read-destinations": "cannot read destinations of",
};

/** What an error is made of. */
export interface NetlinkErrorInit {
  readonly operation: Operation;
  /** The object's key, as in {@link stepObject}. */
  readonly object: string;
  readonly errno: number;
  readonly extendedAck?: ExtendedAck | undefined;
  /** What to do about it, or what it means here. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/**
 * The kernel refused, or did not answer. `message` is one line: what could not be done to which
 * object, why, and what to do about it:
 *
 *     cannot add virtual service tcp 192.0.2.1:80: ENOENT (no such object): the kernel has no
 *     scheduler "foo": modprobe ip_vs_foo
 */
export class NetlinkError extends Error {
  override name = "NetlinkError";
  readonly operation: Operation;
  /** The object's key, as in `stepObject`. */
  readonly object: string;
  /** Positive. ETIMEDOUT and ENOBUFS also stand for answers that were late or lost. */
  readonly errno: number;
  /** `ENOENT`. */
  readonly errnoName: string;
  readonly extendedAck: ExtendedAck | undefined;

  constructor(init: NetlinkErrorInit) {
    const { operation, object, errno, extendedAck, hint, cause } = init;
    let text = `${phrases[operation]} ${object}: ${errnoName(errno)} (${errnoText(errno)})`;
    if (hint) text += `: ${hint}`;
    if (extendedAck) {
      text += extendedAck.message
        ? `; the kernel says: ${extendedAck.message}`
        : "; the kernel rejects an attribute";
      if (extendedAck.offset >= 0) text += ` (byte ${extendedAck.offset} of the request)`;
    }
    super(text, cause === undefined ? undefined : { cause });
    this.operation = operation;
    this.object = object;
    this.errno = errno;
    this.errnoName = errnoName(errno);
    this.extendedAck = extendedAck;
  }
}

/** A step the kernel did not take, and why. */
export interface StepFailure {
  readonly step: Step;
  readonly error: NetlinkError;
}

/** The failure of a step the kernel answered with a number. */
export function stepFailure(
  step: Step,
  errno: number,
  extendedAck?: ExtendedAck,
  hint: string | undefined = stepHint(step, errno),
  cause?: unknown,
): StepFailure {
  const error = new NetlinkError({
    operation: step.op,
    object: stepObject(step),
    errno,
    extendedAck,
    hint,
    cause,
  });
  return { step, error };
}

/** What to do when the kernel lets this process do nothing at all. */
export const capabilityHint = "run as root, or with CAP_NET_ADMIN in the initial user namespace";

/** What to do when there is no IPVS in the kernel. */
export const familyHint =
  "this kernel has no IPVS: modprobe ip_vs, or take a kernel with CONFIG_IP_VS";

/** What an errno means for a step, and what to do about it. */
function stepHint(step: Step, errno: number): string | undefined {
  if (errno === Errno.EPERM || errno === Errno.EACCES) return capabilityHint;
  const onDestination = "destination" in step;
  switch (errno) {
    case Errno.ENOENT:
      return "service" in step ? moduleHint(step.service) : "it is not in the kernel's table";
    case Errno.ESRCH:
      return "the virtual service is not in the kernel's table";
    case Errno.EEXIST:
      return "it is in the kernel's table already";
    case Errno.ERANGE:
      return onDestination
        ? "weight above 2147483647, or lower threshold above the upper one"
        : undefined;
    case Errno.EAFNOSUPPORT:
      return "this kernel's IPVS has no IPv6: take a kernel with CONFIG_IP_VS_IPV6";
    case Errno.EINVAL:
      return onDestination
        ? "the kernel takes only unicast addresses (not 0.0.0.0, broadcast, multicast or IPv6 " +
          "link-local), of the virtual service's family unless forwarding is tunnel, and none at " +
          "all while lo is down and no interface has an address"
        : "a name of more than 15 characters, or an IPv6 persistence prefix outside 1 to 128";
    case Errno.ENOMEM:
      return "the kernel has no memory for it";
    default:
      return undefined;
  }
}

/** The kernel's ENOENT does not tell which of the two modules it lacks. */
function moduleHint(
  service: { readonly scheduler: string; readonly persistenceEngine: string },
): string {
  const { scheduler, persistenceEngine } = service;
  return persistenceEngine === ""
    ? `the kernel has no scheduler "${scheduler}": modprobe ip_vs_${scheduler}`
    : `the kernel has no scheduler "${scheduler}" or no persistence engine ` +
      `"${persistenceEngine}": modprobe ip_vs_${scheduler} ip_vs_pe_${persistenceEngine}`;
}
