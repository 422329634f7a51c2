import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Delivery } from "../../../src/brokers/broker.ts";
import { exchangeNamed, queueNamed } from "../../../src/brokers/topology.ts";
import { delayedKey } from "../../../src/protocol/delayed-delivery.ts";
import { undelayed } from "../../../src/worker/undelayed.ts";

const queue = queueNamed("video", { exchange: exchangeNamed("media", { type: "topic" }), routingKey: "media.#" });

function delivery(exchange: string, routingKey: string, settled: string[] = []): Delivery {
  const message = { body: new Uint8Array(), properties: {}, headers: {} };
  const note = (word: string) => async () => void settled.push(word);
  return {
    message,
    queue: "video",
    exchange,
    routingKey,
    redelivered: true,
    ack: note("ack"),
    requeue: note("requeue"),
    reject: note("reject"),
  };
}

describe("a delivery", () => {
  test("that was delayed shows where it was sent to, and is settled as before", async () => {
    for (const exchange of ["celery_delayed_delivery", "celery_delayed_0"]) {
      const settled: string[] = [];
      const original = delivery(exchange, delayedKey(5, "media.cut") as string, settled);

      const shown = undelayed(original, queue);

      assert.deepEqual([shown.exchange, shown.routingKey], ["media", "media.cut"]);
      assert.deepEqual([shown.queue, shown.redelivered, shown.message], ["video", true, original.message]);
      await shown.ack();
      await shown.requeue();
      await shown.reject();
      assert.deepEqual(settled, ["ack", "requeue", "reject"]);
    }
  });

  test("that was not delayed is itself", () => {
    for (const [exchange, key] of [
      ["", "video"],
      ["media", "media.cut"],
    ] as const) {
      const original = delivery(exchange, key);
      assert.equal(undelayed(original, queue), original);
    }
  });

  test("that a retry of Celery's delayed twice, or sent on by an old key, shows the key alone", () => {
    const once = delayedKey(5, "media.cut") as string;
    assert.equal(undelayed(delivery("celery_delayed_3", `${once.slice(0, 56)}${once}`), queue).routingKey, "media.cut");
    const sentOn = undelayed(delivery("media", once), queue);
    assert.deepEqual([sentOn.exchange, sentOn.routingKey], ["media", "media.cut"]);
  });
});
