/** What is asked, when, and with which known answers; through the browser, on one interface. */
import { assert } from "../../../testing.ts";
import {
  classIn,
  encodeMessage,
  type Message,
  type MessageParts,
  type Question,
  RecordType,
  type ResourceRecord,
} from "../../../../src/discovery/dns/message.ts";
import { goodbye, host, nsec, ptr, shared, srv, txt } from "../../../fakes/records.ts";
import { foo, fooQuery, Scene } from "./scene.ts";

const hour = 3600 * 1000;
const web = "web._foo._tcp.local";
/** Everything of the instance `web`. */
const all = [
  ptr(foo, web),
  srv(web, "h.local", 80),
  txt(web, ["a=1"]),
  host("h.local", "10.0.0.1"),
];
const noV6 = nsec("h.local", [RecordType.A]);

function question(name: string, type: number, unicast: boolean = false): Question {
  return { name, type, class: classIn, unicast };
}

/** What another host asks. */
function query(
  questions: readonly Question[],
  answers: readonly ResourceRecord[] = [],
  more: MessageParts = {},
): Uint8Array {
  return encodeMessage({ questions, answers, ...more });
}

function knownAnswers({ answers }: Message): string[] {
  return answers.map(({ data }) => data.kind === "pointer" ? data.target : "?");
}

Deno.test("the first query leaves after 20 to 120 ms", () => {
  for (const [value, at] of [[0, 20], [0.5, 70], [0.999, 119.9]] as const) {
    const scene = Scene.browsing({ random: () => value });
    scene.advance(500);
    assert.deepEqual(scene.sent.map((sent) => sent.at), [at]);
    assert.equal(scene.sent[0]?.interfaceIndex, 2);
  }
});

Deno.test("a query is the plain question RFC 6762 18 describes", () => {
  const scene = Scene.browsing();
  scene.advance(500);
  assert.deepEqual(scene.sent[0]?.message, {
    id: 0,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    rcode: 0,
    questions: [question(foo, RecordType.PTR)],
    answers: [],
    authorities: [],
    additionals: [],
    skipped: 0,
  });
});

Deno.test("queries follow after 1, 2, 4 ... seconds, and every hour in the end", () => {
  const scene = Scene.browsing({ random: () => 0 });
  scene.advance(6 * hour);
  const times = scene.sent.map(({ at }) => at);
  const gaps = times.slice(1).map((at, i) => (at - times[i]!) / 1000);
  const doubling = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048];
  assert.deepEqual(gaps.slice(0, 12), doubling);
  assert.deepEqual([...new Set(gaps.slice(12))], [3600]);
});

Deno.test("what is browsed together is asked in one packet", () => {
  const scene = new Scene();
  for (const serviceType of ["_a._tcp", "_b._tcp", "_c._udp"]) {
    scene.browser.browse({ ...fooQuery, serviceType }, 0);
  }
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, 0);
  scene.advance(500);
  assert.equal(scene.sent.length, 1);
  assert.deepEqual(scene.sent[0]?.message.questions.map(({ name }) => name).sort(), [
    "_a._tcp.local",
    "_b._tcp.local",
    "_c._udp.local",
  ]);
});

Deno.test("500 services are asked in packets that fit, every one of them", () => {
  const scene = new Scene();
  for (let i = 0; i < 500; i++) {
    scene.browser.browse({ ...fooQuery, serviceType: `_service${i}._tcp` }, 0);
  }
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, 0);
  scene.advance(500);
  assert.ok(scene.sent.length < 15, `${scene.sent.length} packets`);
  assert.equal(scene.sent.flatMap(({ message }) => message.questions).length, 500);
  assert.ok(scene.sent.every(({ message }) => !message.truncated));
});

Deno.test("what is missing of an instance is asked for, and only that", () => {
  const scene = Scene.settled();
  scene.hear(ptr(foo, web));
  scene.advance(200);
  assert.deepEqual(scene.takeQuestions().map(([, text]) => text), [`33 ${web}`, `16 ${web}`]);
  scene.hear(srv(web, "h.local", 80), txt(web, []));
  scene.advance(200);
  assert.deepEqual(scene.takeQuestions().map(([, text]) => text), ["1 h.local", "28 h.local"]);
  scene.hear(host("h.local", "10.0.0.1"), noV6);
  scene.advance(60_000);
  assert.deepEqual(scene.takeQuestions().filter(([, text]) => !text.startsWith("12 ")), []);
});

Deno.test("a complete announcement costs no question, in whatever order its records stand", () => {
  for (const records of [all, all.toReversed()]) {
    const scene = Scene.settled();
    scene.hear(...records, noV6);
    assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.1"]);
    scene.advance(50_000);
    assert.deepEqual(scene.takeQuestions().filter(([, text]) => text !== `12 ${foo}`), []);
  }
});

Deno.test("records in the additional section count", () => {
  const scene = Scene.settled();
  scene.receive(encodeMessage({ response: true, answers: [all[0]!], additionals: all.slice(1) }));
  assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.1"]);
});

Deno.test("only addresses of the wanted families are asked for and taken in", () => {
  const scene = Scene.settled({ families: new Set(["ipv4"]) });
  scene.hear(ptr(foo, web), srv(web, "h.local", 80), txt(web, []), host("h.local", "2001:db8::1"));
  scene.advance(200);
  assert.deepEqual(scene.takeQuestions().map(([, text]) => text), ["1 h.local"]);
  assert.deepEqual(scene.take(), []);
  scene.hear(host("h.local", "10.0.0.1"));
  assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.1"]);
});

Deno.test("an unanswered question is repeated ever more seldom", () => {
  const scene = Scene.settled();
  scene.hear(ptr(foo, web), txt(web, []));
  scene.advance(20_000);
  const times = scene.takeQuestions().filter(([, text]) => text === `33 ${web}`).map(([at]) => at);
  assert.deepEqual(times.map((at) => at - times[0]!), [0, 1000, 3000, 7000, 15_000]);
});

Deno.test("a record is asked for when it comes of age, until an answer comes", () => {
  const scene = Scene.settled();
  scene.hear(...all, noV6);
  const start = scene.now;
  scene.advance(130_000);
  const asked = scene.takeQuestions().filter(([, text]) => text === `33 ${web}`);
  // 80, 85, 90 and 95 % of 120 s, 1 % of randomness, and the delay of a burst.
  assert.deepEqual(asked.slice(0, 4).map(([at]) => at - start), [
    97_270,
    103_270,
    109_270,
    115_270,
  ]);
  assert.deepEqual(scene.take().at(-1), `lost ${web} expired`);

  const answered = Scene.settled();
  answered.hear(...all, noV6);
  answered.advance(98_000);
  assert.deepEqual(
    answered.takeQuestions().filter(([, text]) => text !== `12 ${foo}`).map(([, text]) => text),
    [`33 ${web}`, "1 h.local"],
    "both in one packet",
  );
  answered.hear(...all, noV6);
  answered.advance(90_000);
  assert.deepEqual(answered.takeQuestions().filter(([, text]) => text !== `12 ${foo}`), []);
});

Deno.test("refreshing many records of one age takes few packets", () => {
  let state = 0;
  const scene = Scene.settled({ random: () => (state = (state + 0.377) % 1) });
  for (let i = 0; i < 500; i++) {
    const name = `web${i}.${foo}`;
    scene.hear(ptr(foo, name), srv(name, `h${i}.local`, 80), txt(name, []));
    scene.hear(host(`h${i}.local`, "10.0.0.1"), nsec(`h${i}.local`, [RecordType.A]));
    scene.now += 1;
  }
  scene.sent.length = 0;
  // Up to the first refresh of all: 80 to 82 % of 120 s, and the half second it took.
  scene.advance(99_500);
  const questions = scene.sent.flatMap(({ message }) => message.questions);
  assert.ok(questions.length >= 1000, `${questions.length} questions`);
  assert.ok(scene.sent.length < 80, `${scene.sent.length} packets`);
});

Deno.test("known answers go along while at least half their life is left", () => {
  const scene = Scene.settled();
  scene.hear(...all, noV6, ptr(foo, `b.${foo}`, 100));
  scene.sent.length = 0;
  scene.advance(7000);
  const early = scene.sent.find(({ message }) => message.answers.length > 0);
  assert.deepEqual(knownAnswers(early!.message), [web, `b.${foo}`]);
  const [record] = early!.message.answers;
  assert.equal(record?.flush, false);
  assert.equal(record?.ttl, 4500 - Math.ceil((early!.at - 10_000) / 1000));
  scene.sent.length = 0;
  // 80 s later a refresh of b: a known answer for it would keep its responder silent.
  scene.advance(76_000);
  const refresh = scene.sent.findLast(({ message }) => message.questions[0]?.name === foo);
  assert.deepEqual(knownAnswers(refresh!.message), [web]);
});

Deno.test("a known answer about to be refreshed anyway is left out", () => {
  const scene = Scene.settled();
  scene.hear(...all, noV6);
  scene.advance(4500 * 1000 * 0.79);
  scene.hear(...all.slice(1), noV6);
  scene.sent.length = 0;
  scene.advance(4500 * 1000 * 0.04);
  const refreshes = scene.sent.filter(({ message }) =>
    message.questions.some(({ name }) => name === foo)
  );
  assert.ok(refreshes.length > 0);
  for (const { message } of refreshes) assert.deepEqual(knownAnswers(message), []);
});

Deno.test("known answers that do not fit follow at once, announced by TC", () => {
  const scene = Scene.settled();
  const names = Array.from({ length: 300 }, (_, i) => `instance-${i}.${foo}`);
  for (const name of names) scene.hear(ptr(foo, name));
  scene.sent.length = 0;
  scene.advance(7000);
  const at =
    scene.sent.find(({ message }) => message.questions.some(({ name }) => name === foo))!.at;
  const packets = scene.sent.filter((sent) => sent.at === at).map(({ message }) => message);
  const first = packets.findIndex(({ questions }) => questions.some(({ name }) => name === foo));
  const series = packets.slice(first);
  assert.ok(series.length > 3);
  assert.deepEqual(series.map(({ truncated }) => truncated), [
    ...new Array(series.length - 1).fill(true),
    false,
  ]);
  assert.ok(series.slice(1).every(({ questions }) => questions.length === 0));
  assert.deepEqual(series.flatMap(knownAnswers).sort(), names.toSorted());
});

Deno.test("a question that somebody else just asked is left to him", () => {
  const scene = Scene.settled();
  scene.hear(...all, noV6);
  // The next query is due 15 s after the fourth one.
  scene.advance(4900);
  scene.sent.length = 0;
  scene.receive(query([question("_FOO._tcp.local", RecordType.PTR)], [ptr(foo, web)]));
  scene.advance(2000);
  assert.deepEqual(scene.takeQuestions(), []);
  // His question stood for ours: the schedule went on.
  scene.advance(20_000);
  assert.equal(scene.takeQuestions().length, 1);
});

Deno.test("a question is not left to somebody whose known answers we lack, or whose question differs", () => {
  const asks = (...packets: Uint8Array[]) => {
    const scene = Scene.settled();
    scene.hear(...all, noV6);
    scene.advance(4900);
    scene.sent.length = 0;
    for (const packet of packets) scene.receive(packet);
    scene.advance(2000);
    return scene.takeQuestions().length;
  };
  const same = question(foo, RecordType.PTR);
  assert.equal(asks(), 1);
  assert.equal(asks(query([same])), 0, "none is fewer than ours");
  assert.equal(asks(query([same], [ptr(foo, `other.${foo}`)])), 1, "an answer we lack");
  assert.equal(asks(query([same], [ptr(foo, web), ptr(foo, `other.${foo}`)])), 1);
  assert.equal(asks(query([question(foo, RecordType.PTR, true)])), 1, "QU");
  assert.equal(asks(query([question("_bar._tcp.local", RecordType.PTR)])), 1);
  assert.equal(asks(query([question(foo, RecordType.ANY)])), 1);
  assert.equal(asks(query([{ ...same, class: 3 }])), 1);
  assert.equal(asks(query([same], [], { truncated: true })), 1, "more known answers follow");
  assert.equal(asks(query([same], [], { opcode: 4 })), 1);
});

Deno.test("nobody can silence us for ever by asking the same again and again", () => {
  const scene = Scene.browsing();
  for (let i = 0; i < 400; i++) {
    scene.receive(query([question(foo, RecordType.PTR)]));
    scene.advance(500);
  }
  const asked = scene.takeQuestions().length;
  // At 0, 1, 3, 7, 15, 31, 63 and 127 s.
  assert.ok(asked >= 4, `${asked} of 8 queries`);
  assert.ok(asked < 8, "none was left to him");
});

Deno.test("our own packets, come back by loopback, silence nobody", () => {
  const scene = Scene.browsing();
  let heard = 0;
  while (scene.now < 200_000) {
    scene.advance(9);
    for (; heard < scene.sent.length; heard++) scene.receive(scene.sent[heard]!.bytes);
  }
  assert.equal(scene.takeQuestions().length, 8);
});

Deno.test("NSEC: what does not exist is not asked for while that holds", () => {
  const scene = Scene.settled();
  scene.hear(...all, nsec("h.local", [RecordType.A], 3600));
  scene.advance(95_000);
  assert.ok(scene.takeQuestions().every(([, text]) => text !== "28 h.local"));
  // It does not stand in the way of one that turns up.
  scene.take();
  scene.hear(host("h.local", "2001:db8::1"));
  assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.1,2001:db8::1"]);
});

Deno.test("NSEC: what is denied again and again is asked for every hour in the end", () => {
  const scene = Scene.settled();
  const late: number[] = [];
  scene.hear(...all, noV6);
  while (scene.now < 24 * hour) {
    scene.advance(10_000);
    const asked = scene.takeQuestions();
    if (asked.length > 0) scene.hear(...all);
    if (asked.some(([, text]) => text === "28 h.local")) scene.hear(noV6);
    for (const [at, text] of asked) if (text === "28 h.local" && at > 12 * hour) late.push(at);
  }
  assert.equal(late.length, 12);
});

Deno.test("NSEC: what it lists is asked for, and after its TTL everything is", () => {
  const scene = Scene.settled();
  scene.hear(ptr(foo, web), srv(web, "h.local", 80, 4500), txt(web, []));
  scene.hear(nsec("h.local", [RecordType.AAAA], 60));
  scene.advance(50_000);
  const texts = scene.takeQuestions().map(([, text]) => text);
  assert.ok(texts.includes("28 h.local"));
  assert.ok(!texts.includes("1 h.local"));
  scene.advance(11_000);
  assert.ok(scene.takeQuestions().some(([, text]) => text === "1 h.local"));
});

Deno.test("a short maximal life is asked about often, and our known answers silence nobody", () => {
  const scene = Scene.settled({ maxLifetime: 20_000 });
  scene.hear(...all, noV6);
  scene.sent.length = 0;
  scene.advance(9000);
  const [first] = scene.sent.filter(({ message }) => message.answers.length > 0);
  // A responder stays silent for a known answer of half its own TTL: 2250 s here (7.1).
  assert.ok(first && first.message.answers.every(({ ttl }) => ttl <= 20));
  scene.advance(10_000);
  const texts = new Set(scene.takeQuestions().map(([, text]) => text));
  assert.deepEqual([...texts].sort(), [`1 h.local`, `12 ${foo}`, `16 ${web}`, `33 ${web}`]);
  scene.take();
  scene.advance(1000);
  assert.deepEqual(scene.take(), [`lost ${web} expired`]);
});

Deno.test("a question is never asked twice within a second", () => {
  const scene = Scene.settled();
  for (let i = 0; i < 300; i++) {
    // Lives so short that they always want refreshing.
    scene.hear(ptr(foo, web, 1), srv(web, "h.local", 80, 1), host("h.local", "10.0.0.1", 1));
    scene.advance(137);
    if (i % 7 === 0) scene.advance(1500);
    if (i % 11 === 0) scene.browser.interfaceUp({ index: 2, name: "eth0" }, scene.now);
    if (i % 13 === 0) scene.browser.reconfirmAll(scene.now);
  }
  const last = new Map<string, number>();
  for (const [at, text] of scene.takeQuestions()) {
    assert.ok(at - (last.get(text) ?? -Infinity) >= 1000, `${text} at ${at}`);
    last.set(text, at);
  }
  assert.ok(last.size >= 5);
});

Deno.test("a name with dots counts, also where python-zeroconf made several labels of it", () => {
  const scene = Scene.settled();
  const name = `Mr. Worker v2.0 (höher).${foo}`;
  scene.hear(ptr(foo, name), srv(name, "h.local", 80), txt(name, []), host("h.local", "10.0.0.1"));
  assert.deepEqual(scene.take(), ["found Mr. Worker v2.0 (höher) h.local:80=10.0.0.1"]);
});

Deno.test("what only unknown instances and hosts would need is not kept", () => {
  const scene = Scene.settled();
  scene.hear(...all, noV6);
  const before = scene.browser.sizes().get(2);
  for (let i = 0; i < 1000; i++) {
    const name = `x${i}`;
    scene.hear(
      ptr("_bar._tcp.local", `${name}._bar._tcp.local`),
      srv(`${name}._bar._tcp.local`, `${name}.local`, 80),
      // Of a browsed service, but no pointer leads here.
      srv(`${name}.${foo}`, `${name}.local`, 80),
      txt(`${name}.${foo}`, []),
      host(`${name}.local`, "10.0.0.1"),
      nsec(`${name}.local`, [RecordType.A]),
      { ...txt(`${name}.local`, []), type: 13, data: { kind: "opaque", bytes: new Uint8Array(9) } },
      // No instances of what is browsed.
      ptr(foo, `${name}.local`),
      ptr(foo, foo),
      ptr(foo, `${name}._bar._tcp.local`),
      ptr(foo, `a._sub.${foo}`),
      { ...ptr(foo, `${name}.${foo}`), class: 3 },
    );
  }
  const { bystanders, ...after } = scene.browser.sizes().get(2)!;
  assert.deepEqual({ ...after, bystanders: 0 }, before);
  assert.equal(bystanders, 1000);
  for (let i = 0; i < 1000; i++) scene.hear(host(`y${i}.local`, "10.0.0.1"));
  assert.equal(scene.browser.sizes().get(2)!.bystanders, 1024, "bounded");
});

Deno.test("the address of a host that was heard before its service is not asked for", () => {
  const scene = Scene.settled();
  scene.hear(host("h.local", "10.0.0.1"));
  scene.advance(30_000);
  scene.sent.length = 0;
  scene.hear(ptr(foo, `a.${foo}`), srv(`a.${foo}`, "h.local", 80), txt(`a.${foo}`, []));
  assert.deepEqual(scene.take(), ["found a h.local:80=10.0.0.1"]);
  // What is left of its 120 s is what counts.
  scene.advance(95_000);
  assert.deepEqual(scene.take(), ["lost a._foo._tcp.local expired"]);
});

Deno.test("an address that was heard before its service and is outdated by it goes in a second", () => {
  const scene = Scene.settled();
  scene.hear(host("h.local", "10.0.0.1"));
  scene.advance(30_000);
  scene.hear(
    ptr(foo, `a.${foo}`),
    srv(`a.${foo}`, "h.local", 80),
    txt(`a.${foo}`, []),
    host("h.local", "10.0.0.2"),
  );
  assert.deepEqual(scene.take(), ["found a h.local:80=10.0.0.1,10.0.0.2"]);
  scene.advance(1100);
  assert.deepEqual(scene.take(), ["found a h.local:80=10.0.0.2"]);
});

Deno.test("when all is said and done nothing is left", () => {
  const scene = Scene.settled();
  const empty = scene.browser.sizes().get(2);
  for (let i = 0; i < 100; i++) {
    const name = `x${i}.${foo}`;
    const records = [ptr(foo, name), srv(name, `h${i}.local`, 80), txt(name, [])];
    scene.hear(...records, host(`h${i}.local`, "10.0.0.1"));
    scene.advance(100);
    if (i % 2 === 0) scene.hear(...records.map(goodbye));
  }
  assert.ok(scene.browser.sizes().get(2)!.records > 100);
  // The rest expires.
  scene.advance(2 * hour);
  const { deadlines: _, bystanders: kept, ...rest } = scene.browser.sizes().get(2)!;
  const { deadlines: __, bystanders: ___, ...expected } = empty!;
  assert.ok(kept <= 100, "only the hosts that were there");
  assert.deepEqual(rest, expected);
  assert.deepEqual(expected, { records: 0, instances: 0, hosts: 0, questions: 1 });
});

Deno.test("a flood of instances is bounded, and does not push out those that serve", () => {
  const scene = Scene.settled({ maxRecords: 100 });
  scene.hear(...all, noV6);
  scene.take();
  for (let i = 0; i < 5000; i++) {
    scene.hear(ptr(foo, `x${i}.${foo}`, 86_400), srv(`x${i}.${foo}`, `h${i}.local`, 80, 86_400));
    if (i % 100 === 0) scene.advance(10);
  }
  const size = scene.browser.sizes().get(2)!;
  assert.ok(size.records <= 100, `${size.records} records`);
  assert.ok(size.instances <= 20, `${size.instances} instances`);
  assert.ok(size.questions <= 100, `${size.questions} questions`);
  assert.ok(size.deadlines < 600, `${size.deadlines} places`);
  assert.deepEqual(scene.take(), []);
  // One that serves still finds a place.
  const name = `new.${foo}`;
  scene.hear(ptr(foo, name), srv(name, "n.local", 81), txt(name, []), host("n.local", "10.0.0.2"));
  assert.deepEqual(scene.take(), ["found new n.local:81=10.0.0.2"]);
  assert.equal(scene.browser.counters.refusedInstances, 0);
});

Deno.test("a pointer that had to make room and is heard again at once costs nobody", () => {
  const scene = Scene.settled({ maxRecords: 20 });
  scene.hear(ptr(foo, web, 10), ...all.slice(1));
  scene.take();
  const other = `other.${foo}`;
  const filler = Array.from({ length: 16 }, (_, i) => shared(txt(other, [`n=${i}`], 60)));
  scene.hear(ptr(foo, other), ...filler);
  scene.hear(ptr(foo, web));
  scene.advance(1000);
  assert.deepEqual(scene.take(), []);
  assert.equal(scene.browser.sizes().get(2)?.records, 20);
  scene.hear(goodbye(ptr(foo, web)));
  assert.deepEqual(scene.take(), [`lost ${web} goodbye`]);
});

Deno.test("when every instance serves a newcomer is refused and counted", () => {
  const scene = Scene.settled({ maxRecords: 100 });
  for (let i = 0; i < 30; i++) {
    const name = `x${i}.${foo}`;
    scene.hear(ptr(foo, name), srv(name, "h.local", i + 1), host("h.local", "10.0.0.1"));
  }
  assert.equal(scene.take().length, 20);
  assert.equal(scene.browser.counters.refusedInstances, 10);
  // A goodbye makes room.
  scene.hear(goodbye(ptr(foo, `x3.${foo}`)));
  scene.advance(1000);
  scene.take();
  scene.hear(ptr(foo, web), srv(web, "h.local", 80));
  assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.1"]);
});
