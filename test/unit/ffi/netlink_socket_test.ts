import { assert } from "../../testing.ts";
import { LibraryError, openLibnl } from "../../../ffi/libnl.ts";
import { openNetlinkSocket, SocketError } from "../../../ffi/netlink_socket.ts";
import { IpvsClient } from "../../../src/ipvs/client.ts";
import { decodeFamilyId, encodeGetFamily } from "../../../src/ipvs/genetlink.ts";
import {
  decodeAcknowledgement,
  MessageFlag,
  MessageReader,
  MessageType,
  MessageWriter,
} from "../../../src/ipvs/netlink.ts";

/** Whether this machine has libnl: the lab installs it. */
const ignore = (() => {
  try {
    openLibnl()[Symbol.dispose]();
    return false;
  } catch {
    return true;
  }
})();

/** Asks for families, the last of which acknowledges. */
function ask(...names: string[]): Uint8Array {
  const writer = new MessageWriter();
  names.forEach((name, sequence) => encodeGetFamily(writer, name, sequence));
  return writer.bytes;
}

Deno.test("a missing libnl says what to install", () => {
  assert.throws(() => openNetlinkSocket({ libraryDirectory: "/nonexistent" }), (error) => {
    assert(error instanceof LibraryError);
    assert.equal(
      error.message,
      "cannot open libnl-3.so.200: install libnl-3-200 and libnl-genl-3-200 " +
        "(apt-get install libnl-3-200 libnl-genl-3-200)",
    );
    return true;
  });
});

Deno.test({
  name: "the controller answers, on this thread and another",
  ignore,
  async fn() {
    using socket = openNetlinkSocket();
    for (const work of ["quick", "slow"] as const) {
      await socket.send(ask("nlctrl", "no-such-family"), work);
      const answer = new MessageReader((await socket.receive(1000))!);
      assert(answer.next());
      assert.equal(decodeFamilyId(answer), 0x10);
      const refusal = new MessageReader((await socket.receive(1000))!);
      assert(refusal.next());
      assert.equal(refusal.type, MessageType.error);
      assert.equal(decodeAcknowledgement(refusal).errno, 2);
      // NETLINK_CAP_ACK: the request is not repeated, only its header.
      assert(refusal.flags & MessageFlag.capped);
      assert.equal(await socket.receive(0), null);
    }
  },
});

Deno.test({
  name: "a large datagram with a thousand failures loses none",
  ignore,
  async fn() {
    using socket = openNetlinkSocket();
    // Unprivileged, the buffers are as large as the system allows.
    const count = Deno.uid() === 0 ? 5000 : 100;
    await socket.send(ask(...Array.from({ length: count }, () => "no-such-family")), "slow");
    let answers = 0;
    while (await socket.receive(0)) answers++;
    assert.equal(answers, count);
  },
});

Deno.test({
  name: "answers that find no room are lost with ENOBUFS, once",
  ignore,
  async fn() {
    using socket = openNetlinkSocket();
    for (let i = 0; i < 10; i++) {
      await socket.send(ask(...Array.from({ length: 5000 }, () => "no-such-family")), "slow");
    }
    await assert.rejects(socket.receive(0), (error) => {
      assert(error instanceof SocketError);
      assert.equal(error.errno, 105);
      return true;
    });
    let answers = 0;
    while (await socket.receive(0)) answers++;
    assert(answers > 0 && answers < 50_000, `${answers}`);
  },
});

Deno.test({
  name: "waiting ends when there is nothing, and lets others work",
  ignore,
  async fn() {
    using socket = openNetlinkSocket();
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    assert.equal(await socket.receive(30), null);
    clearInterval(timer);
    assert(ticks > 0);
  },
});

Deno.test({
  name: "many quick requests let others work, too",
  ignore,
  async fn() {
    using socket = openNetlinkSocket();
    let turns = 0;
    let running = true;
    const other = (async () => {
      while (running) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        turns++;
      }
    })();
    const end = performance.now() + 50;
    while (performance.now() < end) {
      await socket.send(ask("nlctrl"), "quick");
      await socket.receive(1000);
    }
    running = false;
    await other;
    assert(turns > 1);
  },
});

Deno.test({
  name: "a socket that is closed says so, also while in use",
  ignore,
  async fn() {
    const socket = openNetlinkSocket();
    const sending = socket.send(ask("nlctrl"), "slow");
    const waiting = socket.receive(60_000);
    // Which of the two ends first is the scheduler's to say; nobody may be left to reject unheard.
    waiting.catch(() => {});
    socket[Symbol.dispose]();
    socket[Symbol.dispose]();
    await sending;
    await assert.rejects(async () => {
      // The answer may have come before the end.
      await waiting;
      await socket.receive(0);
    }, /closed/);
    await assert.rejects(socket.send(ask("nlctrl"), "quick"), /closed/);
  },
});

Deno.test({
  name: "the client on a kernel without IPVS, or without the right to use it, says what to do",
  ignore,
  async fn() {
    try {
      using client = await IpvsClient.open(openNetlinkSocket());
      // This machine has IPVS, and we may use it.
      assert.match((await client.info()).version, /^1\./);
    } catch (error) {
      assert.match(String(error), /modprobe ip_vs|run as root/);
    }
  },
});
