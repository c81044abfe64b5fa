/**
 * Makes sure that the Debian packages the lab, the demo and the tests need are there.
 *
 * @module
 */
import { Progress } from "./progress.ts";

/** A Debian package, a file that shows it is installed, and what it is for. */
export interface Package {
  readonly name: string;
  /** Any one of these means: installed. Other distributions may have it without dpkg. */
  readonly files: readonly string[];
  readonly why: string;
}

const lib = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/** What klb itself needs at run time. */
export const runtimePackages: readonly Package[] = [
  {
    name: "libnl-3-200",
    files: lib.map((dir) => `${dir}/libnl-3.so.200`),
    why: "the netlink socket of klb",
  },
  {
    name: "libnl-genl-3-200",
    files: lib.map((dir) => `${dir}/libnl-genl-3.so.200`),
    why: "its generic netlink family",
  },
];

/** What the lab needs on top. */
export const labPackages: readonly Package[] = [
  ...runtimePackages,
  { name: "iproute2", files: ["/usr/sbin/ip", "/sbin/ip"], why: "namespaces and links" },
  { name: "kmod", files: ["/usr/sbin/modprobe", "/sbin/modprobe"], why: "kernel modules" },
  { name: "ipvsadm", files: ["/usr/sbin/ipvsadm", "/sbin/ipvsadm"], why: "witness of the table" },
  { name: "avahi-daemon", files: ["/usr/sbin/avahi-daemon"], why: "the announcer of the workers" },
  {
    name: "python3-zeroconf",
    files: ["/usr/lib/python3/dist-packages/zeroconf/__init__.py"],
    why: "a second, independent announcer; its python3 also timestamps packets",
  },
  {
    name: "nsd",
    files: ["/usr/sbin/nsd"],
    why: "the DNS server of workers found by unicast DNS: zone files, TTLs, SOA, TCP; half a MB",
  },
];

/**
 * What is fetched and unpacked for the lab alone, and not installed: systemd-resolved would become
 * this machine's resolver. A third announcer, and the likeliest neighbour on a director.
 */
export const resolvedPackage = "systemd-resolved";

const unpacked = new URL(`../../dist/lab/${resolvedPackage}`, import.meta.url).pathname;

/** Where systemd-resolved is: unpacked, or installed; undefined where there is none. */
export function resolvedProgram(): string | undefined {
  const installed = ["/usr/lib/systemd", "/lib/systemd", `${unpacked}/lib/systemd`];
  return [...installed, `${unpacked}/usr/lib/systemd`].map((dir) => `${dir}/systemd-resolved`)
    .find(fileExists);
}

/**
 * Unpacks systemd-resolved where it is missing and can be had. Its tests are ignored otherwise, and
 * the reason is returned.
 */
export async function ensureResolved(): Promise<string | undefined> {
  if (resolvedProgram()) return undefined;
  if (!fileExists("/usr/bin/apt-get")) return "there is no apt-get";
  using _progress = new Progress(`lab: unpacking ${resolvedPackage}`);
  const directory = await Deno.makeTempDir({ prefix: "klb-apt-" });
  try {
    const { success, stderr } = await new Deno.Command("apt-get", {
      args: ["download", resolvedPackage],
      cwd: directory,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) return new TextDecoder().decode(stderr).trim();
    const [file] = Deno.readDirSync(directory);
    await Deno.mkdir(unpacked, { recursive: true });
    await new Deno.Command("dpkg-deb", { args: ["-x", `${directory}/${file!.name}`, unpacked] })
      .output();
    return resolvedProgram() ? undefined : `${resolvedPackage} holds no such program`;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** The kernel for machines whose own has no IPVS, or whose user is not root. */
export const umlPackages: readonly Package[] = [
  {
    name: "user-mode-linux",
    files: ["/usr/bin/linux.uml"],
    why: "the lab's kernel",
  },
];

/** Thrown when packages are missing and cannot be installed from here; the message says what to do. */
export class MissingPackagesError extends Error {
  override readonly name = "MissingPackagesError";
}

/** Exit status for {@link MissingPackagesError} (EX_UNAVAILABLE). */
export const exitUnavailable = 69;

/** The packages of `wanted` that are not installed. */
export function missingPackages(
  wanted: readonly Package[],
  exists: (path: string) => boolean = fileExists,
): Package[] {
  return wanted.filter((each) => !each.files.some(exists));
}

/** The one command that installs `packages`, for a person to run. */
export function installCommand(packages: readonly Package[]): string {
  return `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${
    packages.map((each) => each.name).join(" ")
  }`;
}

/**
 * Installs what is missing of `wanted` when this is root on a Debian; takes no time when all is
 * there. No service is started by it.
 *
 * @throws {MissingPackagesError} when it cannot.
 */
export async function ensurePackages(wanted: readonly Package[] = labPackages): Promise<void> {
  const missing = missingPackages(wanted);
  if (missing.length === 0) return;
  const names = missing.map((each) => each.name).join(" ");
  const hint = `Debian packages are missing: ${names}\nInstall them with:\n  ${
    installCommand(missing)
  }`;
  if (Deno.uid() !== 0) throw new MissingPackagesError(hint);
  if (!fileExists("/usr/bin/apt-get")) {
    throw new MissingPackagesError(
      `this machine has no apt-get; the lab needs what Debian calls: ${names}`,
    );
  }
  using _progress = new Progress(`lab: installing ${names}`);
  let result = await aptGet(["install", ...missing.map((each) => each.name)]);
  if (!result.success) {
    // Most often there are no package lists yet, or they name versions that are gone by now.
    await aptGet(["update"]);
    result = await aptGet(["install", ...missing.map((each) => each.name)]);
  }
  const still = missingPackages(wanted);
  if (!result.success || still.length > 0) {
    throw new MissingPackagesError(`${hint}\napt-get said:\n${result.output.trimEnd()}`);
  }
}

async function aptGet(args: readonly string[]): Promise<{ success: boolean; output: string }> {
  // Maintainer scripts start services, and enable them for the next boot, through these programs.
  // They are shadowed by PATH, for apt's own processes only, so nothing of it stays behind.
  const dir = await Deno.makeTempDir({ prefix: "klb-apt-" });
  try {
    for (const name of ["invoke-rc.d", "deb-systemd-invoke", "deb-systemd-helper"]) {
      await Deno.writeTextFile(`${dir}/${name}`, "#!/bin/sh\nexit 0\n", { mode: 0o755 });
    }
    const { success, stdout, stderr } = await new Deno.Command("apt-get", {
      args: [
        "-y",
        "--no-install-recommends",
        "-o",
        "DPkg::Lock::Timeout=120",
        "-o",
        `DPkg::Path=${dir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        ...args,
      ],
      env: {
        DEBIAN_FRONTEND: "noninteractive",
        RUNLEVEL: "1",
        PATH: `${dir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    const decoder = new TextDecoder();
    return { success, output: decoder.decode(stdout) + decoder.decode(stderr) };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function fileExists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  try {
    await ensurePackages([...labPackages, ...umlPackages]);
    await ensureResolved();
  } catch (error) {
    if (!(error instanceof MissingPackagesError)) throw error;
    Deno.stderr.writeSync(new TextEncoder().encode(`${error.message}\n`));
    Deno.exit(exitUnavailable);
  }
}
