/**
 * Laws of unicast discovery: no answer is an accident, and in the end the true state is known.
 *
 * @module
 */
import type { ResourceRecord } from "../../src/discovery/dns/message.ts";
import { cname } from "../fakes/dns_server.ts";
import { seededRandom } from "../fakes/random.ts";
import { host, ptr, srv, txt } from "../fakes/records.ts";
import { assert, fc } from "../testing.ts";
import { DnsScene, fooQuery } from "../unit/discovery/dns/scene.ts";

const service = "_foo._tcp.example.org";

function worker(number: number): ResourceRecord[] {
  const name = `w${number}.${service}`;
  return [
    ptr(service, name, 2),
    srv(name, `host${number}.example.org`, 80, 2),
    txt(name, [`number=${number}`], 2),
    cname(`host${number}.example.org`, `alias${number}.example.org`, 2),
    host(`alias${number}.example.org`, `192.0.2.${10 + number}`, 2),
  ];
}

/** What a pool would have after these events. */
function standing(scene: DnsScene): Set<string> {
  const names = new Set<string>();
  for (const event of scene.events) {
    if (event.type === "found") names.add(event.instance.label);
    if (event.type === "lost") names.delete(event.name.split(".")[0]!);
  }
  return names;
}

Deno.test("answers of random bytes, or cut: nothing throws, nobody leaves", () => {
  fc.assert(
    fc.property(fc.integer(), fc.boolean(), (seed, cut) => {
      const random = seededRandom(seed);
      const scene = new DnsScene({ seed });
      scene.server.records = [...worker(1), ...worker(2)];
      scene.browser.browse(fooQuery, 0);
      scene.run(1500);
      scene.server.tamper = (answer) => {
        if (cut) return answer.slice(0, Math.floor(random() * answer.length));
        const bytes = answer.slice(0, 12 + Math.floor(random() * 600)).map(() => random() * 256);
        // Most get past the first checks.
        if (random() < 0.7 && bytes.length > 12) bytes.set(answer.subarray(0, 12));
        return bytes;
      };
      scene.run(20_000);
      assert.deepEqual(standing(scene), new Set(["w1", "w2"]));
    }),
    { numRuns: 200 },
  );
});

Deno.test("whatever is flipped in an answer, nothing throws", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = seededRandom(seed);
      const scene = new DnsScene({ seed, families: ["ipv4", "ipv6"] });
      scene.server.records = [...worker(1), ...worker(2)];
      scene.server.additionals = worker(2);
      scene.server.tamper = (answer) => {
        const bytes = answer.slice();
        for (let i = 0; i < 8; i++) {
          bytes[2 + Math.floor(random() * (bytes.length - 2))]! ^= 1 << random() * 8;
        }
        return bytes;
      };
      scene.browser.browse(fooQuery, 0);
      scene.run(20_000);
    }),
    { numRuns: 200 },
  );
});

Deno.test("servers fail and come back, workers come and go: in the end the truth stands", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const random = seededRandom(seed);
      const scene = new DnsScene({ seed, servers: ["192.0.2.1", "192.0.2.2", "192.0.2.3"] });
      scene.browser.browse(fooQuery, 0);
      let present: number[] = [];
      for (let i = 0; i < 20; i++) {
        present = [1, 2, 3, 4, 5].filter(() => random() < 0.5);
        for (const server of scene.servers.values()) {
          server.records = present.flatMap(worker);
          server.negative = random() < 0.5 ? 1 : 2;
          server.silent = random() < 0.4;
          server.rcode = random() < 0.2 ? 2 : 0;
          server.tamper = (answer) => random() < 0.2 ? undefined : answer;
        }
        scene.run(random() * 20_000);
      }
      for (const server of scene.servers.values()) {
        Object.assign(server, { silent: false, rcode: 0, tamper: (answer: Uint8Array) => answer });
      }
      scene.run(35_000);
      assert.deepEqual([...standing(scene)].sort(), present.map((number) => `w${number}`));
      assert.ok(scene.open.size <= 1 + 4 * present.length, "one query a question");
    }),
    { numRuns: 100 },
  );
});
