/** Against what Celery's client published, and where it lay. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import {
  DELAY_ENTRY,
  DELAY_EXIT,
  delayedKey,
  exitKey,
  isDelayExchange,
  MAX_DELAY_SECONDS,
  topicMatches,
  undelayedKey,
} from "../../../src/protocol/delayed-delivery.ts";

interface Fixture {
  readonly routing_key_vectors: Readonly<Record<string, string>>;
  readonly published: Readonly<Record<string, { delivery?: { exchange: string; routing_key: string } }>>;
  readonly bindings: readonly { source: string; destination: string; destination_type: string; routing_key: string }[];
}

const fixture = JSON.parse(
  readFileSync(new URL("../../fixtures/quorum_delayed_delivery.rabbitmq.json", import.meta.url), "utf8"),
) as Fixture;

const LIMIT = 2 ** 28;

describe("the routing key of a delayed message", () => {
  for (const [seconds, key] of Object.entries(fixture.routing_key_vectors)) {
    if (Number(seconds) >= LIMIT) continue;
    test(`is Celery's for ${seconds} s, and comes apart again`, () => {
      assert.equal(delayedKey(Number(seconds), "celery"), key);
      assert.equal(undelayedKey(key), "celery");
    });
  }

  test("is published where Celery's client publishes it", () => {
    const { delivery } = fixture.published.countdown_3600 ?? {};
    assert.equal(delivery?.exchange, DELAY_ENTRY);
    assert.equal(delivery?.routing_key, delayedKey(3_600.9, "celery"));
  });

  test("is none for less than a second, for which Celery's client throws", () => {
    for (const seconds of [0.999, 0.5, 0, -1, -1e9, Number.NaN]) assert.equal(delayedKey(seconds, "celery"), undefined);
    assert.notEqual(delayedKey(1, "celery"), undefined);
  });

  test("says the longest delay there is for a longer one, where Celery's has a digit too many", () => {
    const longest = delayedKey(MAX_DELAY_SECONDS, "celery");
    assert.equal(delayedKey(LIMIT, "celery"), longest);
    assert.equal(delayedKey(Number.POSITIVE_INFINITY, "celery"), longest);
    assert.equal(fixture.routing_key_vectors[String(LIMIT)]?.split(".").length, 30);
    assert.equal(longest?.split(".").length, 29);
  });

  test("never has the digits of two delays", () => {
    const once = delayedKey(5, "media.video") as string;
    assert.equal(delayedKey(5, once), once);
    assert.equal(delayedKey(60, once), delayedKey(60, "media.video"));
    // As a retry of Celery's own client makes it.
    assert.equal(undelayedKey(`${once.slice(0, 56)}${once}`), "media.video");
  });

  test("is none where it would be longer than AMQP allows", () => {
    assert.equal(delayedKey(5, "x".repeat(199))?.length, 255);
    assert.equal(delayedKey(5, "x".repeat(200)), undefined);
    assert.equal(delayedKey(5, "ä".repeat(100)), undefined);
  });

  test("leaves alone a key that only begins like one", () => {
    for (const key of ["0.1.celery", "", "celery", `${"0.".repeat(27)}celery`, `${"2.".repeat(28)}celery`]) {
      assert.equal(undelayedKey(key), key);
    }
  });
});

describe("the way of a delayed message", () => {
  test("by Celery's bindings takes its delay, to the second, and ends in its queue", () => {
    const { bindings } = fixture;
    for (const seconds of [1, 2, 3, 5, 60, 3_600, 86_400, 2 ** 27, MAX_DELAY_SECONDS]) {
      const key = delayedKey(seconds, "celery") as string;
      let exchange = DELAY_ENTRY;
      let waited = 0;
      for (let step = 0; exchange !== "celery" && step < 100; step += 1) {
        const taken = bindings.filter((each) => each.source === exchange && topicMatches(each.routing_key, key));
        assert.equal(taken.length, 1, `${exchange} passes ${key} on once`);
        const { destination, destination_type: type } = taken[0] as (typeof taken)[number];
        const level = Number(destination.slice("celery_delayed_".length));
        if (type === "queue") waited += 2 ** level;
        // A queue's messages go to the next exchange when their time is over.
        exchange = type !== "queue" ? destination : level === 0 ? DELAY_EXIT : `celery_delayed_${level - 1}`;
      }
      assert.equal(waited, seconds);
    }
  });

  test("ends at the key by which Celery's worker binds the app's queues", () => {
    const end = fixture.bindings.find((each) => each.source === DELAY_EXIT);
    assert.equal(exitKey("celery"), end?.routing_key);
    assert.equal(exitKey("#"), "#");
    assert.equal(exitKey("#.celery"), "#.celery");
  });

  test("goes through exchanges that are known as such", () => {
    for (const name of [DELAY_ENTRY, DELAY_EXIT, "celery_delayed_0"]) assert.equal(isDelayExchange(name), true);
    for (const name of ["", "celery", "celery_delayed", "celery_delayed_x"]) assert.equal(isDelayExchange(name), false);
  });
});

describe("a topic exchange", () => {
  const cases: readonly (readonly [binding: string, key: string, passes: boolean])[] = [
    ["a.b", "a.b", true],
    ["a.b", "a.c", false],
    ["a.*", "a.b", true],
    ["a.*", "a", false],
    ["a.*", "a.b.c", false],
    ["a.#", "a", true],
    ["a.#", "a.b.c", true],
    ["#", "", true],
    ["#.b", "b", true],
    ["#.b", "x.y.b", true],
    ["#.b", "b.x", false],
    ["#.*.b", "b", false],
    ["#.a.#.b", "x.a.y.z.b", true],
    ["*", "", true],
    ["#.", "a.", true],
  ];
  for (const [binding, key, passes] of cases) {
    test(`bound by ${JSON.stringify(binding)} ${passes ? "passes" : "holds"} ${JSON.stringify(key)}`, () => {
      assert.equal(topicMatches(binding, key), passes);
    });
  }

  test("is no slower for many #", () => {
    assert.equal(topicMatches(`${"#.a.".repeat(60)}b`, `${"a.".repeat(120)}c`), false);
  });
});
