/** What is told, and why. */
import { assert } from "../../../testing.ts";
import type { DiscoveryEvent } from "../../../../src/model/instance.ts";
import { queryKey } from "../../../../src/model/instance.ts";
import { encodeMessage, RecordType } from "../../../../src/discovery/dns/message.ts";
import { goodbye, host, nsec, ptr, response, shared, srv, txt } from "../../../fakes/records.ts";
import { describe, foo, fooQuery, Scene } from "./scene.ts";

const web = "web._foo._tcp.local";
const webPtr = ptr(foo, web);
const webSrv = srv(web, "h.local", 80);
const webTxt = txt(web, ["a=1"]);
const webHost = host("h.local", "10.0.0.1");
const noV6 = nsec("h.local", [RecordType.A]);
const all = [webPtr, webSrv, webTxt, webHost, noV6];
const foundWeb = "found web h.local:80=10.0.0.1";

/** A scene in which `web` has been found. */
function withWeb(): Scene {
  const scene = Scene.settled();
  scene.hear(...all);
  assert.deepEqual(scene.take(), [foundWeb]);
  // More than the second in which a cache-flush spares.
  scene.advance(5000);
  return scene;
}

/** Keeps the announcer of `web` alive while time passes. */
function keep(scene: Scene, milliseconds: number, records = all): void {
  for (const end = scene.now + milliseconds; scene.now < end;) {
    scene.advance(Math.min(60_000, end - scene.now));
    scene.hear(...records);
  }
}

Deno.test("an instance is found when its pointer, server and an address are known", () => {
  const orders = [[0, 1, 2, 3], [0, 3, 1, 2], [0, 2, 1, 3]];
  for (const order of orders) {
    const scene = Scene.settled();
    for (const [i, index] of order.entries()) {
      scene.hear(all[index]!);
      const complete = [0, 1, 3].every((needed) => order.slice(0, i + 1).includes(needed));
      if (i < order.length - 1 && !complete) assert.deepEqual(scene.take(), []);
      scene.advance(1100);
      // Whatever came too early to be of use is asked for and comes again.
      if (i === order.length - 1) scene.hear(...all);
    }
    // Told again where TXT came last.
    assert.deepEqual([...new Set(scene.take())], [foundWeb]);
  }
});

Deno.test("an instance is told with everything the pool may want", () => {
  const scene = Scene.settled();
  const name = "Mr\\. Worker v2\\.0 (höher)._foo._tcp.local";
  scene.hear(
    ptr(foo, name),
    srv(name, "b.local", 81, 120, 0, 7),
    srv(name, "a.local", 80, 120, 5, 3),
    srv(name, "a.local", 79, 120, 0, 1),
    txt(name, ["Path=/x", "flag"]),
    ...["10.0.0.10", "10.0.0.9", "fe80::1", "2001:db8::1"].map((ip) => host("a.local", ip)),
    host("b.local", "10.0.0.2"),
  );
  const expected: DiscoveryEvent = {
    type: "found",
    query: queryKey(fooQuery),
    instance: {
      name,
      label: "Mr. Worker v2.0 (höher)",
      interfaceIndex: 2,
      interfaceName: "eth0",
      targets: [
        {
          host: "a.local",
          port: 79,
          priority: 0,
          weight: 1,
          addresses: ["10.0.0.9", "10.0.0.10", "2001:db8::1", "fe80::1"],
        },
        { host: "b.local", port: 81, priority: 0, weight: 7, addresses: ["10.0.0.2"] },
        {
          host: "a.local",
          port: 80,
          priority: 5,
          weight: 3,
          addresses: ["10.0.0.9", "10.0.0.10", "2001:db8::1", "fe80::1"],
        },
      ] as never,
      txt: new Map([["path", "/x"], ["flag", null]]),
    },
  };
  assert.deepEqual(scene.events.map(({ event }) => event), [expected]);
});

Deno.test("hearing the same again tells nothing", () => {
  const scene = withWeb();
  keep(scene, 3 * 3600_000);
  scene.hear(...all.map(shared));
  assert.deepEqual(scene.take(), []);
});

Deno.test("a goodbye of pointer, server or only address tells the loss at once", () => {
  for (const record of [webPtr, webSrv, webHost]) {
    const scene = withWeb();
    scene.hear(goodbye(record));
    assert.deepEqual(scene.events, [{
      at: scene.now,
      event: {
        type: "lost",
        query: queryKey(fooQuery),
        name: web,
        interfaceIndex: 2,
        cause: "goodbye",
      },
    }]);
    scene.take();
    scene.advance(5000);
    assert.deepEqual(scene.take(), [], "told once");
    scene.hear(...all);
    assert.deepEqual(scene.take(), [foundWeb]);
  }
});

Deno.test("a goodbye of everything in one packet is one loss", () => {
  const scene = withWeb();
  scene.hear(...all.map(goodbye));
  scene.advance(5000);
  assert.deepEqual(scene.take(), [`lost ${web} goodbye`]);
});

Deno.test("who comes back within the second of the goodbye is found again at once", () => {
  for (const record of [webPtr, webSrv, webHost]) {
    const scene = withWeb();
    scene.hear(goodbye(record));
    scene.advance(900);
    scene.hear(record);
    assert.deepEqual(scene.take(), [`lost ${web} goodbye`, foundWeb]);
    scene.advance(20_000);
    assert.deepEqual(scene.take(), [], "the second of the goodbye does not catch up with it");
  }
});

Deno.test("a goodbye of one of several addresses spares the others", () => {
  const scene = Scene.settled();
  const addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map((ip) => host("h.local", ip));
  scene.hear(webPtr, webSrv, webTxt, ...addresses);
  scene.advance(5000);
  scene.take();
  // With the cache-flush bit, as avahi says it.
  scene.hear(goodbye(addresses[1]!));
  assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.1,10.0.0.3"]);
  scene.advance(5000);
  assert.deepEqual(scene.take(), []);
});

Deno.test("a goodbye of TXT alone takes the settings away, not the instance", () => {
  const scene = withWeb();
  scene.hear(goodbye(webTxt));
  const [{ event } = { event: undefined }] = scene.events;
  assert.equal(event?.type, "found");
  assert.deepEqual(event?.type === "found" && [...event.instance.txt], []);
});

Deno.test("who falls silent is lost within the 120 s of its host's TTL", () => {
  const scene = withWeb();
  scene.advance(114_999);
  assert.deepEqual(scene.take(), []);
  scene.advance(1);
  assert.deepEqual(scene.take(), [`lost ${web} expired`]);
});

Deno.test("an expired record is asked for, and its return is told", () => {
  const scene = withWeb();
  scene.advance(200_000);
  scene.sent.length = 0;
  scene.take();
  scene.advance(300_000);
  const asked = new Set(scene.takeQuestions().map(([, text]) => text));
  assert.ok(asked.has(`33 ${web}`));
  scene.hear(webSrv, webHost);
  scene.advance(200);
  scene.hear(webSrv, webHost);
  assert.deepEqual(scene.take(), [foundWeb]);
});

Deno.test("TXT that nobody refreshes any more is asked for and no longer told", () => {
  const scene = Scene.settled();
  const rest = [ptr(foo, web, 90_000), webSrv, webHost, noV6];
  scene.hear(...rest, txt(web, ["a=1"], 300));
  scene.take();
  keep(scene, 400_000, rest);
  const last = scene.events.at(-1)?.event;
  assert.equal(last?.type, "found");
  assert.deepEqual(last?.type === "found" && [...last.instance.txt], []);
  const since = scene.takeQuestions().filter(([at, text]) => at > 310_000 && text === `16 ${web}`);
  assert.ok(since.length > 0);
});

Deno.test("a port change is one change: the new port is there before the old one goes", () => {
  const scene = withWeb();
  scene.hear(srv(web, "h.local", 81));
  assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.1;h.local:81=10.0.0.1"]);
  scene.advance(1000);
  assert.deepEqual(scene.take(), ["found web h.local:81=10.0.0.1"]);
});

Deno.test("an address change is one change: the new address is there before the old one goes", () => {
  const scene = withWeb();
  scene.hear(host("h.local", "10.0.0.2"));
  assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.1,10.0.0.2"]);
  scene.advance(1000);
  assert.deepEqual(scene.take(), ["found web h.local:80=10.0.0.2"]);
});

Deno.test("a move to another host drops the first when it is known where the second is", () => {
  const scene = withWeb();
  scene.hear(srv(web, "other.local", 80), host("other.local", "10.0.0.7"));
  scene.advance(1000);
  assert.deepEqual(scene.take(), [
    "found web h.local:80=10.0.0.1;other.local:80=10.0.0.7",
    "found web other.local:80=10.0.0.7",
  ]);
  assert.equal(scene.browser.sizes().get(2)?.hosts, 1);
});

Deno.test("records without the cache-flush bit join those known", () => {
  const scene = withWeb();
  scene.hear(shared(host("h.local", "10.0.0.2")), shared(srv(web, "h.local", 81)));
  scene.advance(5000);
  assert.deepEqual(scene.take(), [
    "found web h.local:80=10.0.0.1,10.0.0.2;h.local:81=10.0.0.1,10.0.0.2",
  ]);
});

Deno.test("a set announced in two packets within a second is whole", () => {
  const scene = withWeb();
  scene.hear(host("h.local", "10.0.0.2"));
  scene.advance(900);
  scene.hear(host("h.local", "10.0.0.3"));
  scene.advance(5000);
  assert.equal(scene.take().at(-1), "found web h.local:80=10.0.0.2,10.0.0.3");
});

Deno.test("a cache-flush bit on a pointer drops nobody: pointers are shared", () => {
  const scene = withWeb();
  scene.hear({ ...ptr(foo, `other.${foo}`), flush: true });
  scene.advance(5000);
  assert.deepEqual(scene.take(), []);
});

Deno.test("a TXT change is told with the new one only", () => {
  const scene = withWeb();
  scene.hear(txt(web, ["a=2"]));
  scene.advance(5000);
  const told = scene.events.map(({ event }) =>
    event.type === "found" ? [...event.instance.txt] : event.type
  );
  assert.deepEqual(told, [[["a", "2"]]]);
});

Deno.test("a rename is another instance", () => {
  const scene = withWeb();
  const renamed = `web #2.${foo}`;
  scene.hear(
    goodbye(webPtr),
    ptr(foo, renamed),
    srv(renamed, "h.local", 80),
    txt(renamed, []),
    webHost,
  );
  assert.deepEqual(scene.take().sort(), [
    "found web #2 h.local:80=10.0.0.1",
    `lost ${web} goodbye`,
  ]);
});

Deno.test("two instances on one address and port are told and lost apart", () => {
  const scene = withWeb();
  const twin = `twin.${foo}`;
  scene.hear(ptr(foo, twin), srv(twin, "h.local", 80), txt(twin, []));
  assert.deepEqual(scene.take(), ["found twin h.local:80=10.0.0.1"]);
  scene.hear(goodbye(webPtr));
  scene.advance(1000);
  assert.deepEqual(scene.take(), [`lost ${web} goodbye`]);
  // The host they share is still known.
  scene.hear(host("h.local", "10.0.0.2"));
  scene.advance(1000);
  assert.equal(scene.take().at(-1), "found twin h.local:80=10.0.0.2");
});

Deno.test("names in another case are the same names", () => {
  const scene = withWeb();
  scene.hear(
    ptr("_FOO._TCP.local", "WEB._foo._tcp.LOCAL"),
    srv("Web._foo._tcp.local", "H.local", 80),
  );
  assert.deepEqual(scene.take(), []);
  scene.hear(goodbye(ptr("_Foo._tcp.local", "wEb._foo._tcp.local")));
  assert.deepEqual(scene.take(), [`lost ${web} goodbye`]);
});

Deno.test('port 0 and the target "." say that there is no service', () => {
  const scene = Scene.settled();
  scene.hear(
    webPtr,
    srv(web, "", 80),
    srv(`b.${foo}`, "h.local", 0),
    ptr(foo, `b.${foo}`),
    webHost,
  );
  assert.deepEqual(scene.take(), []);
});

Deno.test("what is no proper response is not heard", () => {
  const scene = Scene.settled();
  scene.receive(response(all, { rcode: 3 }));
  scene.receive(response(all, { opcode: 4 }));
  scene.receive(encodeMessage({ answers: all }));
  scene.receive(response([], { authorities: all }));
  scene.receive(response(all), 2, 5354);
  scene.receive(response(all), 3);
  scene.receive(response(all.map((record) => ({ ...record, class: 3 }))));
  scene.receive(new Uint8Array(9001));
  scene.receive(new Uint8Array(3));
  scene.advance(2000);
  assert.deepEqual(scene.take(), []);
  assert.equal(scene.browser.counters.wrongPort, 1);
  assert.equal(scene.browser.counters.malformedPackets, 2);
  scene.receive(response(all, { questions: [], truncated: true }));
  assert.deepEqual(scene.take(), [foundWeb]);
});

Deno.test("malformed records are counted, the others taken in", () => {
  const scene = Scene.settled();
  const bad = { ...webHost, data: { kind: "opaque", bytes: new Uint8Array(3) } } as const;
  scene.hear(bad, ...all, bad);
  assert.deepEqual(scene.take(), [foundWeb]);
  assert.equal(scene.browser.counters.malformedRecords, 2);
});

Deno.test("settled comes a second after the fourth query", () => {
  const scene = Scene.browsing({ random: () => 0 });
  scene.advance(8019);
  assert.deepEqual(scene.take(), []);
  scene.advance(1);
  assert.deepEqual(scene.events, [{
    at: 8020,
    event: { type: "settled", query: queryKey(fooQuery) },
  }]);
  scene.take();
  scene.advance(7200_000);
  assert.deepEqual(scene.take(), [], "once");
});

Deno.test("settled waits for every interface of the query and never comes without one", () => {
  const scene = new Scene();
  scene.browser.browse(fooQuery, 0);
  scene.browser.browse({ ...fooQuery, interfaceName: "eth9" }, 0);
  scene.advance(60_000);
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, scene.now);
  scene.advance(4000);
  scene.browser.interfaceUp({ index: 3, name: "eth1" }, scene.now);
  scene.advance(8000);
  assert.deepEqual(scene.take(), []);
  scene.advance(100);
  assert.deepEqual(scene.events.map(({ event }) => [event.type, event.query]), [
    ["settled", queryKey(fooQuery)],
  ]);
});

Deno.test("an interface that goes for good is not waited for", () => {
  const scene = Scene.browsing();
  scene.browser.interfaceUp({ index: 3, name: "eth1" }, 0);
  scene.advance(3000);
  scene.browser.interfaceDown(3, scene.now);
  scene.advance(9000);
  assert.deepEqual(scene.take(), []);
  scene.advance(1000);
  assert.deepEqual(scene.take(), ["settled"]);
});

Deno.test("an interface that is away settles nothing: nobody can hear the questions", () => {
  const scene = Scene.browsing();
  scene.advance(2000);
  // Something that would be refreshed meanwhile, and something to ask first.
  scene.hear(ptr(foo, web, 5));
  scene.browser.interfaceDown(2, scene.now);
  scene.browser.browse({ ...fooQuery, serviceType: "_bar._tcp" }, scene.now);
  scene.sent.length = 0;
  scene.advance(8000);
  assert.deepEqual(scene.takeQuestions(), []);
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, scene.now);
  const back = scene.now;
  scene.advance(20_000);
  const settledAt = scene.events[0]?.at ?? NaN;
  assert.deepEqual(scene.take(), ["settled", "settled"]);
  assert.equal(settledAt - back, 8070);
});

Deno.test("what was seen through an interface outlives it by 10 s", () => {
  const scene = withWeb();
  scene.browser.interfaceDown(2, scene.now);
  scene.browser.interfaceDown(2, scene.now + 5000);
  scene.advance(9999);
  assert.deepEqual(scene.take(), []);
  scene.advance(1);
  assert.deepEqual(scene.take(), [`lost ${web} interface`]);
  assert.equal(scene.browser.nextDeadline(), Infinity);
  assert.equal(scene.browser.sizes().size, 0);
});

Deno.test("after a flap what is still there is not even told", () => {
  const scene = withWeb();
  scene.browser.interfaceDown(2, scene.now);
  scene.advance(2000);
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, scene.now);
  scene.sent.length = 0;
  scene.advance(200);
  const [query] = scene.sent;
  assert.equal(query?.message.questions[0]?.name, foo);
  assert.deepEqual(query?.message.answers, [], "a known answer would keep its responder silent");
  scene.hear(...all);
  scene.advance(60_000);
  assert.deepEqual(scene.take(), []);
});

Deno.test("who left during a flap is lost 8 s after it, though nobody heard his goodbye", () => {
  const scene = withWeb();
  const twin = `twin.${foo}`;
  const other = [
    ptr(foo, twin),
    srv(twin, "t.local", 80),
    txt(twin, []),
    host("t.local", "10.0.0.2"),
  ];
  scene.hear(...other);
  scene.browser.interfaceDown(2, scene.now);
  scene.advance(2000);
  scene.take();
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, scene.now);
  scene.advance(200);
  scene.hear(...other);
  scene.advance(7799);
  assert.deepEqual(scene.take(), []);
  scene.advance(1);
  assert.deepEqual(scene.take(), [`lost ${web} expired`]);
});

Deno.test("an interface recreated under its name ends the old one once it had its chance", () => {
  const scene = withWeb();
  scene.browser.interfaceUp({ index: 3, name: "eth1" }, scene.now);
  scene.receive(response(all), 3);
  scene.take();
  scene.browser.interfaceDown(2, scene.now);
  scene.browser.interfaceUp({ index: 4, name: "eth0" }, scene.now);
  scene.advance(7999);
  assert.deepEqual(scene.take(), []);
  scene.advance(1);
  const [told, ...more] = scene.events;
  assert.deepEqual(more, []);
  assert.deepEqual(told!.event.type === "lost" && told!.event.interfaceIndex, 2);
  assert.deepEqual([...scene.browser.sizes().keys()], [3, 4]);
});

Deno.test("an interface that comes late does not lengthen the life of its predecessor", () => {
  const scene = withWeb();
  scene.browser.interfaceDown(2, scene.now);
  scene.advance(9000);
  scene.browser.interfaceUp({ index: 4, name: "eth0" }, scene.now);
  scene.advance(1000);
  assert.deepEqual(scene.take(), [`lost ${web} interface`]);
});

Deno.test("another socket on an interface asks again but doubts nothing", () => {
  const scene = withWeb();
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, scene.now);
  scene.sent.length = 0;
  scene.advance(20_000);
  assert.deepEqual(scene.takeQuestions().filter(([, text]) => text === `12 ${foo}`).length, 5);
  assert.deepEqual(scene.take(), []);
});

Deno.test("an interface that takes over an index is another one", () => {
  const scene = withWeb();
  scene.browser.interfaceUp({ index: 2, name: "eth7" }, scene.now);
  scene.poll();
  assert.deepEqual(scene.take(), [`lost ${web} interface`]);
  scene.hear(...all);
  const { event } = scene.events[0]!;
  assert.equal(event.type === "found" && event.instance.interfaceName, "eth7");
});

Deno.test("interfaces have caches of their own", () => {
  const scene = withWeb();
  scene.browser.interfaceUp({ index: 3, name: "eth1" }, scene.now);
  scene.receive(response(all), 3);
  scene.receive(response(all.map(goodbye)), 2);
  const told = scene.events.map(({ event }) =>
    event.type === "found"
      ? ["found", event.instance.interfaceIndex]
      : event.type === "lost"
      ? ["lost", event.interfaceIndex]
      : []
  );
  assert.deepEqual(told, [["found", 3], ["lost", 2]]);
});

Deno.test("a query for one interface hears of no other", () => {
  const scene = new Scene();
  scene.browser.browse({ ...fooQuery, interfaceName: "eth1" }, 0);
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, 0);
  scene.browser.interfaceUp({ index: 3, name: "eth1" }, 0);
  scene.advance(1000);
  assert.ok(
    scene.sent.length > 0 && scene.sent.every(({ interfaceIndex }) => interfaceIndex === 3),
  );
  scene.receive(response(all), 2);
  assert.deepEqual(scene.take(), []);
  scene.receive(response(all), 3);
  assert.deepEqual(scene.take(), [foundWeb]);
});

Deno.test("a query that comes later is told what is known already", () => {
  const scene = withWeb();
  const later = { ...fooQuery, interfaceName: "eth0" };
  scene.browser.browse(later, scene.now);
  scene.poll();
  const told = scene.events.map(({ event }) => [event.query, describe(event)]);
  assert.deepEqual(told, [[queryKey(later), foundWeb], [queryKey(later), "settled"]]);
  scene.take();
  scene.hear(goodbye(webPtr));
  assert.deepEqual(
    scene.events.map(({ event }) => event.query).sort(),
    [
      queryKey(fooQuery),
      queryKey(later),
    ].sort(),
  );
});

Deno.test("browsing twice is browsing once", () => {
  const scene = withWeb();
  scene.browser.browse(fooQuery, scene.now);
  scene.poll();
  assert.deepEqual(scene.take(), []);
});

Deno.test("a query that ends takes with it what nobody else wants", () => {
  const scene = withWeb();
  const later = { ...fooQuery, interfaceName: "eth0" };
  scene.browser.browse(later, scene.now);
  scene.poll();
  scene.take();
  scene.browser.stop(fooQuery, scene.now);
  scene.hear(txt(web, ["a=2"]));
  assert.deepEqual(scene.events.map(({ event }) => event.query), [queryKey(later)]);
  scene.browser.stop(later, scene.now);
  scene.hear(...all);
  scene.take();
  scene.sent.length = 0;
  scene.advance(7200_000);
  assert.deepEqual(scene.sent, []);
  assert.deepEqual(scene.browser.sizes().get(2), {
    records: 0,
    bystanders: 1,
    instances: 0,
    hosts: 0,
    questions: 0,
    deadlines: 0,
  });
});

Deno.test("a service that cannot be asked for is refused when it is browsed", () => {
  const scene = new Scene();
  const serviceType = `_${"x".repeat(63)}._tcp`;
  assert.throws(() => scene.browser.browse({ ...fooQuery, serviceType }, 0), RangeError);
});

Deno.test("a subtype is browsed by its own name and leads to instances of its service", () => {
  const scene = new Scene();
  const subtype = "_canary._sub._foo._tcp.local";
  scene.browser.browse({ ...fooQuery, serviceType: "_canary._sub._foo._tcp" }, 0);
  scene.browser.browse(fooQuery, 0);
  scene.browser.interfaceUp({ index: 2, name: "eth0" }, 0);
  scene.advance(10_000);
  scene.take();
  scene.hear(...all);
  assert.deepEqual(scene.take(), [foundWeb], "not of the subtype");
  scene.hear(ptr(subtype, web), ptr(subtype, `x.${subtype}`));
  assert.deepEqual(scene.events.map(({ event }) => event.query), [
    "_canary._sub._foo._tcp.local%",
  ]);
  scene.take();
  scene.hear(goodbye(ptr(subtype, web)));
  assert.deepEqual(scene.events.map(({ event }) => [event.type, event.query]), [
    ["lost", "_canary._sub._foo._tcp.local%"],
  ]);
  scene.take();
  scene.advance(2000);
  scene.hear(goodbye(webPtr));
  assert.deepEqual(scene.events.map(({ event }) => event.query), [queryKey(fooQuery)]);
  scene.advance(2000);
  assert.equal(scene.browser.sizes().get(2)?.records, 0);
});

Deno.test("an instance that does not serve is lost in 10 s unless it is heard of", () => {
  const scene = withWeb();
  scene.browser.reconfirm("WEB._foo._tcp.local", scene.now);
  scene.browser.reconfirm("unknown._foo._tcp.local", scene.now);
  scene.sent.length = 0;
  scene.advance(9999);
  const asked = scene.takeQuestions().map(([, text]) => text);
  for (const text of [`12 ${foo}`, `33 ${web}`, "1 h.local"]) {
    assert.ok(asked.filter((one) => one === text).length >= 2, `${text} in ${asked}`);
  }
  assert.deepEqual(scene.take(), []);
  scene.advance(1);
  assert.deepEqual(scene.take(), [`lost ${web} expired`]);
  assert.equal(scene.browser.sizes().get(2)?.records, 0);
});

Deno.test("an instance that answers stays, however often it is put in doubt, at little cost", () => {
  const scene = withWeb();
  scene.sent.length = 0;
  for (let i = 0; i < 60; i++) {
    scene.browser.reconfirm(web, scene.now);
    scene.advance(500);
    if (scene.sent.at(-1)?.message.questions.some(({ name }) => name === foo)) scene.hear(...all);
    scene.advance(500);
  }
  assert.deepEqual(scene.take(), []);
  assert.ok(scene.sent.length <= 14, `${scene.sent.length} packets in a minute`);
});

Deno.test("after time the clock did not count everything is in doubt", () => {
  const scene = withWeb();
  scene.browser.reconfirmAll(scene.now);
  scene.advance(200);
  scene.hear(webPtr, webSrv, webTxt);
  scene.advance(9700);
  assert.deepEqual(scene.take(), []);
  scene.advance(100);
  assert.deepEqual(scene.take(), [`lost ${web} expired`], "its address did not answer");
});

Deno.test("a packet that comes when nothing is due changes no deadline but its own", () => {
  const scene = Scene.settled();
  const before = scene.browser.nextDeadline();
  scene.hear(ptr("_bar._tcp.local", "x._bar._tcp.local"));
  assert.equal(scene.browser.nextDeadline(), before);
  assert.ok(before > scene.now + 3000, "idle means idle");
});
