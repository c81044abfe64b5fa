/**
 * Runs a job on this machine's own kernel, in private network, mount and process namespaces.
 *
 * @module
 */
import { type Job, jobScript, LabError, overtime } from "./job.ts";

/**
 * Runs the job; every process of it ends with it, since its process namespace does.
 *
 * @returns the job's exit status.
 * @throws {LabError} when the time is over.
 */
export async function runNative(job: Job, signal: AbortSignal): Promise<number> {
  // What the lab writes below /run (the names of network namespaces, sockets) and /tmp stays private;
  // not so /tmp when the job itself lives there.
  const needsTmp = [job.directory, job.out, ...Object.values(job.environment)]
    .some((each) => each?.split(":").some((path) => path.startsWith("/tmp/")));
  const script = `
    mount --make-rprivate / &&
    mount -t tmpfs -o mode=755 run /run &&
    mkdir /run/netns /run/lock &&
    ${needsTmp ? "" : "mount -t tmpfs -o mode=1777 tmp /tmp &&"}
    mount -t proc proc /proc &&
    mount -t sysfs sysfs /sys &&
    ip link set lo up || exit 70
    modprobe -qa ip_vs ip_vs_lblc ip_vs_lblcr # Why: see uml_guest.sh.
    ${jobScript(job)}`;
  const child = new Deno.Command("unshare", {
    args: [
      "--mount",
      "--net",
      "--pid",
      "--fork",
      "--kill-child=KILL",
      "/bin/sh",
      "-c",
      script,
    ],
    stdin: job.terminal ? "inherit" : job.input ? "piped" : "null",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  if (!job.terminal && job.input) {
    const writer = child.stdin.getWriter();
    writer.write(job.input).then(() => writer.close()).catch(() => {});
  }
  let reason: LabError | undefined;
  const end = (error: LabError) => {
    reason ??= error;
    try {
      child.kill("SIGKILL");
    } catch {
      // Already gone.
    }
  };
  const timer = setTimeout(() => end(overtime(job)), job.timeoutMs);
  const aborted = () => end(new LabError("ended by a signal", 130));
  signal.addEventListener("abort", aborted);
  const status = await child.status;
  clearTimeout(timer);
  signal.removeEventListener("abort", aborted);
  if (reason) throw reason;
  return status.code;
}
