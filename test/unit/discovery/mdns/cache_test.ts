import { assert } from "../../../testing.ts";
import { RecordType } from "../../../../src/discovery/dns/message.ts";
import {
  type CacheEntry,
  type CacheOptions,
  RecordCache,
} from "../../../../src/discovery/mdns/cache.ts";
import { goodbye, host, ptr, srv, txt } from "../../../fakes/records.ts";

function cache(options: Partial<CacheOptions> = {}): RecordCache {
  return new RecordCache({ random: () => 0, maxLifetime: Infinity, maxRecords: 1000, ...options });
}

/** Lets everything happen until `end`: `[time, "ask" | "gone", name]`. */
function run(subject: RecordCache, end: number): [number, string, string][] {
  const log: [number, string, string][] = [];
  for (let next; (next = subject.nextDeadline()) <= end;) {
    for (let due; (due = subject.takeDue(next));) {
      log.push([next, due.expired ? "gone" : "ask", due.entry.name]);
    }
  }
  return log;
}

function names(entries: Iterable<CacheEntry>): string[] {
  return [...entries].map(({ dataKey }) => dataKey);
}

Deno.test("a record is asked for at 80, 85, 90 and 95 % of its life and dropped at its end", () => {
  const subject = cache();
  assert.equal(subject.put(host("h.local", "10.0.0.1", 100), 1000), "new");
  assert.deepEqual(run(subject, 1e9), [
    [81_000, "ask", "h.local"],
    [86_000, "ask", "h.local"],
    [91_000, "ask", "h.local"],
    [96_000, "ask", "h.local"],
    [101_000, "gone", "h.local"],
  ]);
  assert.equal(subject.size, 0);
  assert.equal(subject.deadlines, 0);
});

Deno.test("up to 2 % of its life is added at random, anew each time", () => {
  let value = 0;
  const subject = cache({ random: () => (value += 0.25) - 0.25 });
  subject.put(host("h.local", "10.0.0.1", 100), 0);
  assert.deepEqual(run(subject, 1e9).map(([at]) => at), [80_000, 85_500, 91_000, 96_500, 100_000]);
});

Deno.test("records heard together are asked for together", () => {
  let state = 0;
  const subject = cache({ random: () => (state = (state + 0.37) % 1) });
  for (let i = 0; i < 5; i++) subject.put(host("h.local", `10.0.0.${i}`, 100), 0);
  assert.equal(new Set(run(subject, 85_000 - 1).map(([at]) => at)).size, 1);
});

Deno.test("a machine that slept through several points asks once", () => {
  const subject = cache();
  subject.put(host("h.local", "10.0.0.1", 100), 0);
  assert.equal(subject.takeDue(92_000)?.expired, false);
  assert.equal(subject.takeDue(92_000), undefined);
  assert.equal(subject.nextDeadline(), 95_000);
  assert.equal(subject.takeDue(200_000)?.expired, true);
});

Deno.test("hearing a record again starts its life anew", () => {
  const subject = cache();
  subject.put(host("h.local", "10.0.0.1", 100), 0);
  run(subject, 90_000);
  assert.equal(subject.put(host("H.LOCAL", "10.0.0.1", 200), 90_000), "renewed");
  assert.equal(subject.size, 1);
  assert.deepEqual(run(subject, 250_000), [[250_000, "ask", "h.local"]]);
});

Deno.test("identity is name, type and data; not TTL, flush bit or case", () => {
  const subject = cache();
  const first = srv("a.local", "Host.local", 80);
  assert.equal(subject.put(first, 0), "new");
  assert.equal(subject.put({ ...first, flush: false, ttl: 7 }, 0), "renewed");
  assert.equal(subject.put(srv("A.local", "hOST.local", 80), 0), "renewed");
  assert.equal(subject.put(srv("a.local", "host.local", 81), 0), "new");
  assert.equal(subject.put(srv("a.local", "host.local", 80, 120, 1), 0), "new");
  assert.equal(subject.put(srv("a.local", "host.local", 80, 120, 0, 1), 0), "new");
  assert.equal(subject.put(txt("a.local", ["x=1", "y"]), 0), "new");
  assert.equal(subject.put(txt("a.local", ["x=1y"]), 0), "new");
  assert.equal(subject.put(ptr("b.local", "X.b.local"), 0), "new");
  assert.equal(subject.put(ptr("b.local", "x.B.local"), 0), "renewed");
  assert.ok(subject.find("b.local", RecordType.PTR, "x.b.local"));
});

Deno.test("a goodbye makes a record unusable at once and removes it in a second", () => {
  const subject = cache();
  const record = host("h.local", "10.0.0.1");
  subject.put(record, 0);
  assert.equal(subject.put(goodbye(record), 5000), "goodbye");
  assert.deepEqual(names(subject.usable("h.local", RecordType.A)), []);
  assert.equal(names(subject.entries("h.local", RecordType.A)).length, 1);
  // Saying it again delays nothing.
  assert.equal(subject.put(goodbye(record), 5900), "ignored");
  assert.deepEqual(run(subject, 1e9), [[6000, "gone", "h.local"]]);
  assert.equal(subject.put(goodbye(record), 7000), "ignored");
  assert.equal(subject.size, 0);
});

Deno.test("a goodbye never makes a record live longer", () => {
  const subject = cache();
  subject.put(host("h.local", "10.0.0.1", 10), 0);
  subject.put(goodbye(host("h.local", "10.0.0.1")), 9500);
  assert.equal(run(subject, 1e9).at(-1)?.[0], 10_000);
});

Deno.test("a goodbye can be taken back within its second", () => {
  const subject = cache();
  const record = host("h.local", "10.0.0.1", 100);
  subject.put(record, 0);
  subject.put(goodbye(record), 5000);
  assert.equal(subject.put(record, 5900), "revived");
  assert.equal(names(subject.usable("h.local", RecordType.A)).length, 1);
  assert.deepEqual(run(subject, 90_000), [[85_900, "ask", "h.local"]]);
});

Deno.test("cache-flush: what was heard more than a second ago goes in a second", () => {
  const subject = cache();
  subject.put(host("h.local", "10.0.0.1"), 0);
  subject.put(host("h.local", "10.0.0.2"), 4000);
  subject.put(host("h.local", "10.0.0.3"), 5000);
  subject.put(host("other.local", "10.0.0.1"), 0);
  subject.put(host("h.local", "::1"), 0);
  subject.flushOlder("h.local", RecordType.A, 5000);
  // It stays usable until then: another of the same set may be on its way.
  assert.equal(names(subject.usable("h.local", RecordType.A)).length, 3);
  assert.deepEqual(run(subject, 5999), []);
  assert.deepEqual(run(subject, 6000)[0], [6000, "gone", "h.local"]);
  assert.deepEqual(names(subject.usable("h.local", RecordType.A)), ["10.0.0.2", "10.0.0.3"]);
  assert.equal(subject.size, 4);
});

Deno.test("cache-flush: what was heard less than a second ago is in doubt if there is news", () => {
  const subject = cache();
  subject.put(host("h.local", "10.0.0.1"), 4500);
  subject.put(host("h.local", "10.0.0.2"), 5000);
  subject.put(host("h.local", "10.0.0.3"), 5000);
  subject.flushOlder("h.local", RecordType.A, 5000);
  assert.deepEqual(run(subject, 6000), [[6000, "ask", "h.local"]]);
  // The answer: no news, and the first one is outdated by it.
  subject.put(host("h.local", "10.0.0.2"), 6010);
  subject.put(host("h.local", "10.0.0.3"), 6010);
  subject.flushOlder("h.local", RecordType.A, 6010);
  assert.deepEqual(run(subject, 80_000), [[7010, "gone", "h.local"]]);
});

Deno.test("cache-flush: two who say one half of a set each are not asked for ever", () => {
  const subject = cache();
  for (const [i, address] of ["10.0.0.1", "10.0.0.2"].entries()) {
    subject.put(host("h.local", address), 100 * i);
    subject.flushOlder("h.local", RecordType.A, 100 * i);
  }
  assert.deepEqual(run(subject, 1100), [[1100, "ask", "h.local"]]);
  for (const [i, address] of ["10.0.0.1", "10.0.0.2"].entries()) {
    subject.put(host("h.local", address), 1110 + i);
    subject.flushOlder("h.local", RecordType.A, 1110 + i);
  }
  assert.deepEqual(run(subject, 90_000), []);
  assert.equal(names(subject.usable("h.local", RecordType.A)).length, 2);
});

Deno.test("cache-flush never makes a record live longer, and hearing it again saves it", () => {
  const subject = cache();
  subject.put(host("h.local", "10.0.0.1", 10), 0);
  subject.put(host("h.local", "10.0.0.2", 100), 0);
  subject.flushOlder("h.local", RecordType.A, 9500);
  subject.put(host("h.local", "10.0.0.2", 100), 9600);
  // And nobody asks for what is outdated.
  assert.deepEqual(run(subject, 80_000), [[10_000, "gone", "h.local"]]);
});

Deno.test("maxLifetime bounds what a TTL promises, and a day bounds every TTL", () => {
  const bounded = cache({ maxLifetime: 10_000 });
  bounded.put(host("h.local", "10.0.0.1", 100), 0);
  assert.deepEqual(run(bounded, 1e9).map(([at]) => at), [8000, 8500, 9000, 9500, 10_000]);
  bounded.put(host("h.local", "10.0.0.1", 5), 0);
  assert.equal(run(bounded, 1e9).at(-1)?.[0], 5000, "a shorter TTL still counts");
  const unbounded = cache();
  unbounded.put(host("h.local", "10.0.0.1", 0xffff_ffff), 0);
  assert.equal(run(unbounded, 1e12).at(-1)?.[0], 24 * 3600 * 1000);
});

Deno.test("half its life long a record is a known answer, unless it is in doubt", () => {
  const subject = cache();
  subject.put(ptr("s.local", "a.s.local", 100), 0);
  const entry = subject.find("s.local", RecordType.PTR, "a.s.local")!;
  assert.ok(subject.isKnownAnswer(entry, 50_000));
  assert.ok(!subject.isKnownAnswer(entry, 50_001));
  subject.reconfirm("s.local", RecordType.PTR, 1000);
  assert.ok(!subject.isKnownAnswer(entry, 1000));
  subject.put(ptr("s.local", "a.s.local", 15), 2000);
  assert.ok(subject.isKnownAnswer(entry, 2000));
  // Two thirds of its life are left, and still it must be heard to be believed.
  subject.reconfirm("s.local", RecordType.PTR, 2000);
  assert.ok(!subject.isKnownAnswer(entry, 2000));
  subject.put(ptr("s.local", "a.s.local", 0), 3000);
  assert.ok(!subject.isKnownAnswer(entry, 3000));
});

Deno.test("a record in doubt is asked for at least twice and goes in 10 s", () => {
  for (const record of [host("h.local", "10.0.0.1"), ptr("h.local", "x.h.local")]) {
    const subject = cache();
    subject.put(record, 0);
    subject.reconfirm("h.local", record.type, 20_000);
    const log = run(subject, 26_500);
    // Doubting again changes nothing.
    subject.reconfirm("h.local", record.type, 26_500);
    log.push(...run(subject, 1e9));
    assert.equal(log.filter(([, what]) => what === "ask").length, 3);
    assert.deepEqual(log.at(-1), [30_000, "gone", "h.local"]);
  }
});

Deno.test("doubt spares what is heard again, and never lengthens a life", () => {
  const subject = cache();
  subject.put(host("a.local", "10.0.0.1", 100), 0);
  subject.put(host("b.local", "10.0.0.1", 15), 0);
  subject.put(host("c.local", "10.0.0.1", 100), 0);
  subject.put(goodbye(host("c.local", "10.0.0.1")), 9900);
  subject.reconfirmAll(10_000);
  subject.put(host("a.local", "10.0.0.1", 100), 11_000);
  const log = run(subject, 80_000);
  const gone = log.filter(([, what]) => what === "gone");
  assert.deepEqual(gone, [[10_900, "gone", "c.local"], [15_000, "gone", "b.local"]]);
  assert.ok(!log.some(([, what, name]) => what === "ask" && name === "c.local"), "it said goodbye");
  assert.equal(subject.size, 1);
});

Deno.test("doubting everything once more gives it its queries again, but no more time", () => {
  const subject = cache();
  subject.put(host("a.local", "10.0.0.1"), 0);
  subject.reconfirmAll(0);
  assert.deepEqual(run(subject, 7000).length, 3);
  subject.reconfirmAll(7000);
  const log = run(subject, 1e9);
  assert.ok(log.filter(([, what]) => what === "ask").length >= 2);
  assert.deepEqual(log.at(-1), [10_000, "gone", "a.local"]);
});

Deno.test("only the record that is meant is put in doubt", () => {
  const subject = cache();
  subject.put(ptr("s.local", "a.s.local"), 0);
  subject.put(ptr("s.local", "b.s.local"), 0);
  subject.reconfirm("s.local", RecordType.PTR, 0, "b.s.local");
  run(subject, 20_000);
  assert.deepEqual(names(subject.usable("s.local", RecordType.PTR)), ["a.s.local"]);
});

Deno.test("a full cache makes room by what needs attention soonest, and says so", () => {
  const subject = cache({ maxRecords: 10 });
  for (let i = 0; i < 10; i++) subject.put(ptr("s.local", `i${i}.s.local`, 1000 - i), 0);
  subject.put(ptr("s.local", "new.s.local", 5000), 0);
  assert.equal(subject.size, 10);
  assert.equal(subject.find("s.local", RecordType.PTR, "i9.s.local"), undefined);
  assert.ok(subject.nextDeadline() <= 0, "somebody has to be told at once");
  const due = subject.takeDue(0);
  assert.equal(due?.expired, true);
  assert.equal(due?.entry.dataKey, "i9.s.local");
  assert.equal(subject.takeDue(0), undefined);
});

Deno.test("an endless flood leaves the cache and its queue as large as allowed", () => {
  const subject = cache({ maxRecords: 100 });
  for (let i = 0; i < 20_000; i++) {
    subject.put(ptr("s.local", `i${i}.s.local`, 1 + i % 4000), i);
    while (subject.takeDue(i));
  }
  assert.equal(subject.size, 100);
  assert.ok(subject.deadlines < 300, `${subject.deadlines} places`);
});

Deno.test("a name has at most 64 records of a type; the one heard longest ago gives way", () => {
  const subject = cache();
  for (let i = 0; i < 64; i++) subject.put(host("h.local", `10.0.0.${i}`), i);
  subject.put(host("h.local", "10.0.0.0"), 100);
  subject.put(host("h.local", "10.0.1.0"), 101);
  const kept = names(subject.usable("h.local", RecordType.A));
  assert.equal(kept.length, 64);
  assert.ok(kept.includes("10.0.0.0") && !kept.includes("10.0.0.1"));
  for (let i = 0; i < 200; i++) subject.put(ptr("s.local", `i${i}.s.local`), 200);
  assert.equal(names(subject.usable("s.local", RecordType.PTR)).length, 200, "pointers are many");
});

Deno.test("what is removed is never due", () => {
  const subject = cache();
  subject.put(host("h.local", "10.0.0.1"), 0);
  subject.put(host("h.local", "10.0.0.2"), 0);
  subject.put(ptr("s.local", "a.s.local"), 0);
  subject.put(ptr("s.local", "b.s.local"), 0);
  subject.remove("h.local", RecordType.A);
  subject.removeOne("s.local", RecordType.PTR, "a.s.local");
  assert.equal(subject.size, 1);
  assert.ok(run(subject, 1e9).every(([, , name]) => name === "s.local"));
  assert.equal(subject.size, 0);
});
