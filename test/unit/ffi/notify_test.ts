import { assert } from "../../testing.ts";
import { Linux, openLibc } from "../../../ffi/libc.ts";
import { openNotifier } from "../../../ffi/notify.ts";

/** A datagram socket of the C library bound to `name`, with a function that reads its next message. */
function listen(name: string): { next(): string } & Disposable {
  const libc = openLibc();
  const { socket, bind, recv, close } = libc.symbols;
  const fd = socket(Linux.AF_UNIX, Linux.SOCK_DGRAM | Linux.SOCK_CLOEXEC, 0);
  const address = new Uint8Array([Linux.AF_UNIX, 0, ...new TextEncoder().encode(name)]);
  assert.equal(bind(fd, address, address.length), 0, `errno ${libc.errno()}`);
  const buffer = new Uint8Array(1000);
  return {
    next() {
      const length = Number(recv(fd, buffer, BigInt(buffer.length), Linux.MSG_DONTWAIT));
      return new TextDecoder().decode(buffer.subarray(0, length));
    },
    [Symbol.dispose]() {
      close(fd);
      libc[Symbol.dispose]();
    },
  };
}

function speaks(address: string, name: string): void {
  using listener = listen(name);
  using notifier = openNotifier(address);
  assert.equal(notifier.ready("2 services\nSTOPPING=1"), undefined);
  assert.equal(listener.next(), "READY=1\nSTATUS=2 services STOPPING=1");
  assert.equal(notifier.status("änderung"), undefined);
  assert.equal(listener.next(), "STATUS=änderung");
  assert.equal(notifier.watchdog(), undefined);
  assert.equal(listener.next(), "WATCHDOG=1");
  assert.equal(notifier.reloading(), undefined);
  assert.match(listener.next(), /^RELOADING=1\nMONOTONIC_USEC=[1-9]\d*$/);
  assert.equal(notifier.stopping(), undefined);
  assert.equal(listener.next(), "STOPPING=1");
}

Deno.test("notify speaks to a socket at a path", () => {
  const directory = Deno.makeTempDirSync();
  try {
    speaks(`${directory}/notify`, `${directory}/notify`);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("notify speaks to an abstract socket", () => {
  const name = `klb-notify-${crypto.randomUUID()}`;
  speaks(`@${name}`, `\0${name}`);
});

Deno.test("notify without an address does nothing", () => {
  using notifier = openNotifier(undefined);
  assert.equal(notifier.ready(), undefined);
  assert.equal(notifier.reloading(), undefined);
});

Deno.test("notify returns what goes wrong", () => {
  using nobody = openNotifier("/nonexistent/notify");
  assert.match(nobody.ready()!.message, /errno 2$/);
  using odd = openNotifier("vsock:2:1234");
  assert.match(odd.ready()!.message, /neither a path nor/);
  using long = openNotifier("/" + "x".repeat(200));
  assert.match(long.ready()!.message, /longer than 108/);
});
