import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { bindingMember, parseBinding, route, topicPattern } from "../../../../src/brokers/redis/bindings.ts";
import { QueueCycle } from "../../../../src/brokers/redis/cycle.ts";
import { Keys } from "../../../../src/brokers/redis/keys.ts";
import { readRedisOptions } from "../../../../src/brokers/redis/options.ts";
import { silentLogger } from "../../../../src/kit/log.ts";

const fixture = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../fixtures/${name}`, import.meta.url), "utf8"));

const keysOf = (options: Record<string, unknown> = {}, database = 0) =>
  new Keys(readRedisOptions(options, silentLogger), database);

const SEP = "\x06\x16";

describe("kombu's bindings", () => {
  test("match as kombu's regular expressions do, and are stored as they are", () => {
    const { topic_patterns: vectors } = fixture("vectors.json") as {
      readonly topic_patterns: readonly {
        readonly pattern: string;
        readonly stored_regex: string;
        readonly matches: Record<string, boolean>;
      }[];
    };
    for (const { pattern: key, stored_regex: stored, matches } of vectors) {
      assert.equal(topicPattern(key), stored);
      for (const [routingKey, expected] of Object.entries(matches)) {
        const binding = { routingKey: key, pattern: stored, queue: "q" };
        assert.deepEqual(route([binding], routingKey), expected ? ["q"] : [], `${key} and ${routingKey}`);
        assert.equal(new RegExp(stored).test(routingKey), expected);
      }
    }
  });

  test("match the same as the expression, whatever the words", () => {
    const words = ["a", "", "*", "#", "b.c", "é", "*", "#"];
    let checked = 0;
    for (let seed = 0; seed < 2_000; seed += 1) {
      const pick = (n: number) =>
        Array.from({ length: n }, (_, i) => words[(seed * 7 + i * (seed % 5) + i) % words.length]);
      const key = pick((seed % 4) + 1).join(".");
      const text = pick(((seed * 3) % 5) + 1)
        .join(".")
        .replaceAll("*", "x")
        .replaceAll("#", "y.z");
      const pattern = topicPattern(key);
      assert.equal(
        route([{ routingKey: key, pattern, queue: "q" }], text).length === 1,
        new RegExp(pattern).test(text),
        `${key} and ${text}`,
      );
      checked += 1;
    }
    assert.equal(checked, 2_000);
  });

  test("of a hundred wildcards are matched in no time", () => {
    const key = Array.from({ length: 100 }, () => "*").join(".");
    const binding = { routingKey: key, pattern: topicPattern(key), queue: "q" };

    assert.deepEqual(route([binding], `${"a".repeat(240)}.`), []);
  });

  test("are members of a set, and what is no binding is none", () => {
    const binding = { routingKey: "media.*.video", pattern: "^media\\..*?[^\\.]\\.video$", queue: "q_topic" };
    const { redis_topic_direct_broadcast: seen } = fixture("virtual_transports.json") as {
      readonly redis_topic_direct_broadcast: { readonly keys: Record<string, readonly string[]> };
    };

    assert.equal(bindingMember(binding, SEP), seen.keys["_kombu.binding.media"]?.[0]);
    assert.deepEqual(parseBinding(bindingMember(binding, SEP), SEP), binding);
    assert.equal(topicPattern("media.*.video"), binding.pattern);
    for (const member of ["", "q", `a${SEP}q`, `a${SEP}${SEP}b${SEP}c`, `a${SEP}${SEP}`]) {
      assert.equal(parseBinding(member, SEP), undefined);
    }
  });

  test("of several kinds send a message to each queue once", () => {
    const direct = { routingKey: "a.b", pattern: "", queue: "one" };
    const topic = { routingKey: "a.#", pattern: topicPattern("a.#"), queue: "two" };
    const again = { ...topic, queue: "one" };
    const broken = { routingKey: "a", pattern: "^(", queue: "three" };

    assert.deepEqual(route([direct, topic, again, broken], "a.b"), ["one", "two"]);
    assert.deepEqual(route([direct], "a"), []);
  });
});

describe("kombu's keys", () => {
  test("are those of the captures", () => {
    const { brpop } = fixture("redis_broker_commands.json") as { readonly brpop: readonly string[] };
    const keys = keysOf();
    const asked = (...queues: string[]) =>
      `BRPOP ${keys.steps.flatMap((step) => queues.map((queue) => keys.list(queue, step))).join(" ")} 1`.replaceAll(
        SEP,
        "\\x06\\x16",
      );

    assert.equal(asked("celery"), brpop[1]);
    assert.equal(asked("celery", "extra"), brpop[2]);
    const { keys: live } = fixture("redis_broker_keys_live_worker.json") as {
      readonly keys: Record<string, { value: string[] }>;
    };
    assert.deepEqual(
      [keys.unacked, keys.unackedIndex, keys.unackedMutex],
      ["unacked", "unacked_index", "unacked_mutex"],
    );
    assert.equal(
      live[keys.bindings("celery")]?.value[0],
      bindingMember({ routingKey: "celery", pattern: "", queue: "celery" }, SEP),
    );
    assert.ok(keys.unacked in live && keys.unackedIndex in live);
    const published = fixture("redis_broker_keys_after_publish.json") as Record<string, { value: string[] }>;
    assert.deepEqual(
      Object.fromEntries(Object.entries(published).map(([key, { value }]) => [key, value])),
      Object.fromEntries(
        ["celery", "hipri"].map((queue) => [
          keys.bindings(queue),
          [bindingMember({ routingKey: queue, pattern: "", queue }, SEP)],
        ]),
      ),
    );
  });

  test("have the prefix before and the separator within", () => {
    const { redis_global_keyprefix_and_sep: seen } = fixture("virtual_transports.json") as {
      readonly redis_global_keyprefix_and_sep: Record<string, string>;
    };
    const keys = keysOf({ global_keyprefix: "myapp:", sep: ":", priority_steps: [0, 5] });

    assert.equal(seen[keys.list("celery", 5)], "list");
    assert.equal(seen[keys.listFor("celery", 9)], "list");
    assert.equal(seen[keys.bindings("celery")], "set");
    assert.equal(keys.unacked, "myapp:unacked");
  });

  test("have the step at or below the priority, which is clamped", () => {
    const keys = keysOf();
    const steps = [undefined, -1, 0, 2, 3, 5, 6, 8, 9, 10, 255].map((priority) => keys.stepOf(priority));

    assert.deepEqual(steps, [0, 0, 0, 0, 3, 3, 6, 6, 9, 9, 9]);
    assert.equal(keys.listFor("q", 5), `q${SEP}3`);
    assert.equal(keysOf({ priority_steps: [0, 20] }).stepOf(255), 0, "clamped first");
  });

  test("of channels have the database, and the routing key where patterns are on", () => {
    const keys = keysOf({}, 3);

    assert.equal(keys.channel("celery.pidbox", ""), "/3.celery.pidbox");
    assert.equal(keys.channel("celeryev", "worker.online"), "/3.celeryev/worker.online");
    assert.equal(keys.channelPattern("celeryev", "worker.#"), "/3.celeryev/worker.*");
    assert.equal(keys.routingKeyOf("/3.celeryev/worker.online", "celeryev"), "worker.online");
    assert.equal(keys.routingKeyOf("/3.celery.pidbox", "celery.pidbox"), "");
    assert.equal(keysOf({ fanout_prefix: false }).channel("e", "k"), "e/k");
    assert.equal(keysOf({ fanout_prefix: "/x{db}." }, 2).channel("e", "k"), "/x2.e/k");
    assert.equal(keysOf({ fanout_patterns: false, global_keyprefix: "p:" }).channel("e", "k"), "p:/0.e");
  });
});

describe("the order of queues", () => {
  test("goes round: each that was served is behind the others", () => {
    const cycle = new QueueCycle("round_robin");
    assert.deepEqual(cycle.order(["c", "a", "b"]), ["c", "a", "b"]);
    cycle.served("c");
    assert.deepEqual(cycle.order(["c", "a", "b"]), ["a", "b", "c"]);
    assert.deepEqual(cycle.order(["b", "d", "c"]), ["b", "c", "d"], "gone and come");
  });

  test("is the alphabet's or that of the settings", () => {
    const [sorted, given] = [new QueueCycle("sorted"), new QueueCycle("priority")];
    for (const cycle of [sorted, given]) {
      cycle.order(["c", "a"]);
      cycle.served("a");
    }
    assert.deepEqual(sorted.order(["c", "a"]), ["a", "c"]);
    assert.deepEqual(given.order(["c", "a"]), ["c", "a"]);
  });
});
