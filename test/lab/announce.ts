/**
 * Announcers of a worker: a real avahi-daemon with a world of its own, and python-zeroconf.
 *
 * @module
 */
import { bindMount, mount, unmount } from "./linux.ts";
import type { Finished, LabProcess } from "./process.ts";

/** What is announced. */
export interface Announcement {
  /** The instance's name, any UTF-8: `web 1`. */
  readonly name: string;
  /** `_http._tcp`. */
  readonly type: string;
  readonly port: number;
  readonly txt?: Readonly<Record<string, string>>;
}

/** What an instance of python-zeroconf may change. */
export interface ZeroconfChanges {
  readonly port?: number;
  readonly txt?: Readonly<Record<string, string>>;
  readonly addresses?: readonly string[];
}

/** Where a process is started: in the worker's namespace. */
export type Spawn = (command: string, args: readonly string[], label: string) => LabProcess;

/** An avahi-daemon that sees only its worker's links and its own files. */
export class AvahiDaemon implements AsyncDisposable {
  /** The process. Its SIGTERM says goodbye for all it announced; its SIGKILL says nothing. */
  readonly process: LabProcess;
  readonly #root: string;
  readonly #services: string;
  #next = 0;

  private constructor(process: LabProcess, root: string, services: string) {
    this.process = process;
    this.#root = root;
    this.#services = services;
  }

  /**
   * Starts one. It announces about a second after it got something to announce (probing).
   *
   * @param directory an empty directory of its own.
   */
  static start(
    spawn: Spawn,
    options: {
      directory: string;
      host: string;
      interfaces: readonly string[];
      ipv6: boolean;
      first: Announcement;
    },
  ): { daemon: AvahiDaemon; announced: Announced } {
    const { directory } = options;
    const root = `${directory}/root`;
    const services = `${directory}/services`;
    for (const each of [root, services]) Deno.mkdirSync(each, { recursive: true });
    Deno.writeTextFileSync(`${directory}/avahi.conf`, avahiConfig(options));
    // The paths of the pid file, the socket and the service files are compiled in; so each daemon gets
    // this machine's files with those replaced, as its root. A chroot needs one process, a mount
    // namespace would need several.
    bindMount("/", root, true);
    mount("run", `${root}/run`, "tmpfs", 0n, "mode=755");
    Deno.mkdirSync(`${root}/run/avahi-daemon`);
    Deno.copyFileSync(`${directory}/avahi.conf`, `${root}/run/avahi.conf`);
    bindMount(services, `${root}/etc/avahi/services`);
    // The first file is there before the daemon: then both are announced in one go.
    writeService(services, "0", options.first);
    const process = spawn("chroot", [
      root,
      "avahi-daemon",
      "--file=/run/avahi.conf",
      "--no-drop-root",
      "--no-chroot",
      "--no-rlimits",
    ], `avahi-daemon of ${options.host}`);
    const daemon = new AvahiDaemon(process, root, services);
    return { daemon, announced: new Announced(daemon, daemon.#services, daemon.#name()) };
  }

  /** Announces one more instance. */
  announce(announcement: Announcement): Announced {
    const name = this.#name();
    writeService(this.#services, name, announcement);
    return new Announced(this, this.#services, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    unmount(this.#root);
  }

  #name(): string {
    return String(this.#next++);
  }
}

/** A systemd-resolved that sees its own files, and the links it is told of. No D-Bus, no networkd. */
export class ResolvedDaemon implements AsyncDisposable {
  /** The process. SIGTERM and SIGKILL are alike: it says no goodbye (version 252). */
  readonly process: LabProcess;
  readonly #root: string;

  private constructor(process: LabProcess, root: string) {
    this.process = process;
    this.#root = root;
  }

  /**
   * Starts one. It announces about two seconds later.
   *
   * @param directory an empty directory of its own.
   */
  static start(
    spawn: Spawn,
    options: {
      program: string;
      directory: string;
      host: string;
      /** Indexes. */
      interfaces: readonly number[];
      first: Announcement;
    },
  ): ResolvedDaemon {
    const { directory, host } = options;
    const root = `${directory}/root`;
    Deno.mkdirSync(root, { recursive: true });
    bindMount("/", root, true);
    mount("run", `${root}/run`, "tmpfs", 0n, "mode=755");
    const file = (path: string, lines: readonly string[]) => {
      const full = `${root}/run/systemd/${path}`;
      Deno.mkdirSync(full.replace(/\/[^/]*$/, ""), { recursive: true });
      Deno.writeTextFileSync(full, lines.join("\n") + "\n");
    };
    file("resolved.conf.d/lab.conf", [
      "[Resolve]",
      "MulticastDNS=yes",
      "LLMNR=no",
      "DNSStubListener=no",
      "DNS=127.0.0.99",
    ]);
    // What networkd would say: mDNS is off on a link unless somebody turns it on.
    for (const index of options.interfaces) {
      file(`netif/links/${index}`, ["ADMIN_STATE=configured", "OPER_STATE=routable", "MDNS=yes"]);
    }
    const { name, type, port, txt = {} } = options.first;
    file("dnssd/first.dnssd", [
      "[Service]",
      `Name=${name.replaceAll("%", "%%")}`,
      `Type=${type}`,
      `Port=${port}`,
      ...Object.entries(txt).map(([key, value]) => `TxtText=${key}=${value}`),
    ]);
    // It insists on a user of its own.
    const users = Deno.readTextFileSync("/etc/passwd").replace(/^systemd-resolve:.*\n/m, "");
    Deno.writeTextFileSync(`${directory}/passwd`, `${users}systemd-resolve:x:0:0::/:/bin/false\n`);
    bindMount(`${directory}/passwd`, `${root}/etc/passwd`);
    const script = `hostname "$1" && exec chroot "$2" "$3"`;
    const process = spawn("unshare", [
      ...["--uts", "sh", "-c", script, "sh"],
      ...[host, root, options.program],
    ], `systemd-resolved of ${host}`);
    return new ResolvedDaemon(process, root);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    unmount(this.#root);
  }
}

/** One announced instance of an {@link AvahiDaemon}. */
export class Announced {
  readonly daemon: AvahiDaemon;
  readonly #directory: string;
  readonly #file: string;

  constructor(daemon: AvahiDaemon, directory: string, file: string) {
    this.daemon = daemon;
    this.#directory = directory;
    this.#file = file;
  }

  /** Stops the daemon with SIGTERM: it says goodbye for everything it announced. */
  async goodbye(): Promise<Finished> {
    return await this.daemon.process.terminate();
  }

  /** Takes the service file away: the daemon says goodbye for this instance alone. */
  withdraw(): void {
    Deno.removeSync(`${this.#directory}/${this.#file}.service`);
  }

  /** Kills the daemon: no goodbye. */
  async kill(): Promise<Finished> {
    return await this.daemon.process.kill9();
  }

  /** Announces something else in its place; avahi says goodbye for the old and probes again. */
  change(announcement: Announcement): void {
    writeService(this.#directory, this.#file, announcement);
  }
}

/** An instance announced by python-zeroconf in a process of its own. */
export class ZeroconfAnnounced implements AsyncDisposable {
  readonly process: LabProcess;
  readonly #updates: string;

  constructor(process: LabProcess, updates: string) {
    this.process = process;
    this.#updates = updates;
  }

  /** Announces changes of the same instance, without a goodbye (RFC 6762 8.4). */
  update(changes: ZeroconfChanges): void {
    Deno.writeTextFileSync(this.#updates, JSON.stringify(changes));
    this.process.signal("SIGHUP");
  }

  /** SIGTERM: it says goodbye. */
  async goodbye(): Promise<Finished> {
    return await this.process.terminate();
  }

  /** SIGKILL: no goodbye. */
  async kill(): Promise<Finished> {
    return await this.process.kill9();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

function avahiConfig(
  options: { host: string; interfaces: readonly string[]; ipv6: boolean },
): string {
  return `[server]
host-name=${options.host}
domain-name=local
use-ipv4=yes
use-ipv6=${options.ipv6 ? "yes" : "no"}
allow-interfaces=${options.interfaces.join(",")}
enable-dbus=no
ratelimit-interval-usec=1000000
ratelimit-burst=10000
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
[reflector]
enable-reflector=no
`;
}

function writeService(directory: string, file: string, announcement: Announcement): void {
  const { name, type, port, txt = {} } = announcement;
  const records = Object.entries(txt).map(([key, value]) =>
    `<txt-record>${escape(value === "" ? key : `${key}=${value}`)}</txt-record>`
  );
  const text = `<?xml version="1.0" standalone='no'?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group><name>${escape(name)}</name><service><type>${
    escape(type)
  }</type><port>${port}</port>${records.join("")}</service></service-group>
`;
  // Renamed into place: avahi watches the directory and must not read half a file.
  Deno.writeTextFileSync(`${directory}/${file}.new`, text);
  Deno.renameSync(`${directory}/${file}.new`, `${directory}/${file}.service`);
}

function escape(text: string): string {
  return text.replace(/[&<>]/g, (each) => `&#${each.charCodeAt(0)};`);
}
