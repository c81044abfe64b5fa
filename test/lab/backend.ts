/**
 * Which kernel the lab runs on: this machine's own, or user-mode-linux.
 *
 * @module
 */

/** `native`: private namespaces of this machine's kernel. `uml`: Debian's user-mode-linux. */
export type Backend = "native" | "uml";

/** What the choice depends on; read from the machine by {@link readFacts}. */
export interface Facts {
  /** The user asked for one (`KLB_LAB`). */
  readonly wish: string | undefined;
  readonly root: boolean;
  /** `/proc/net/ip_vs` is there, after modprobe had its chance. */
  readonly ipvs: boolean;
  /** Private namespaces can be made (containers often may not); asked only with root and IPVS. */
  readonly namespaces: boolean | undefined;
  /** `linux.uml` runs on this processor. */
  readonly architecture: string;
}

/** The backend, and why. */
export interface Choice {
  readonly backend: Backend;
  readonly reason: string;
}

/** Thrown when the lab cannot run here; the message says what to do. */
export class NoBackendError extends Error {
  override readonly name = "NoBackendError";
}

/**
 * Chooses: the machine's own kernel where it can carry the lab, else user-mode-linux.
 *
 * @throws {NoBackendError} for an unknown wish, or where neither can run.
 */
export function chooseBackend(facts: Facts): Choice {
  if (facts.wish === "native" || facts.wish === "uml") {
    return { backend: facts.wish, reason: `KLB_LAB=${facts.wish}` };
  }
  if (facts.wish) {
    throw new NoBackendError(`KLB_LAB=${facts.wish} is neither native nor uml`);
  }
  const lacking = [
    facts.root ? "" : "not root",
    facts.ipvs ? "" : "the kernel has no IPVS",
    facts.namespaces === false ? "no private namespaces allowed" : "",
  ].filter((each) => each !== "");
  if (lacking.length === 0) return { backend: "native", reason: "root, and the kernel has IPVS" };
  if (facts.architecture !== "x86_64") {
    throw new NoBackendError(
      `the lab needs this machine's kernel (${lacking.join(", ")}), or an x86_64 processor for ` +
        `user-mode-linux (this is ${facts.architecture})`,
    );
  }
  return { backend: "uml", reason: lacking.join(", ") };
}

/** Reads the facts from this machine. Loads the ip_vs module when that is possible. */
export function readFacts(): Facts {
  const root = Deno.uid() === 0;
  const wish = Deno.env.get("KLB_LAB");
  const architecture = Deno.build.arch;
  if (wish) return { wish, root, ipvs: false, namespaces: undefined, architecture };
  const ipvs = root && (exists("/proc/net/ip_vs") ||
    (succeeds("modprobe", "-q", "ip_vs") && exists("/proc/net/ip_vs")));
  const namespaces = ipvs
    ? succeeds("unshare", "--mount", "--net", "--pid", "--fork", "true")
    : undefined;
  return { wish, root, ipvs, namespaces, architecture };
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function succeeds(command: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdin: "null", stdout: "null", stderr: "null" })
      .outputSync().success;
  } catch {
    return false;
  }
}
