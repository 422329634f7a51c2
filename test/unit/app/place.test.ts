/** From what is said of where a message goes to an exchange and a key: Celery's rule (PROTOCOL 4.1). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readConfig } from "../../../src/app/config.ts";
import { placeOf } from "../../../src/app/publishing.ts";
import { Queues } from "../../../src/app/queues.ts";
import type { Destination } from "../../../src/pool/asks.ts";
import { delayedKey } from "../../../src/protocol/delayed-delivery.ts";

const config = readConfig(
  {
    taskQueues: [
      { name: "celery", exchange: "celery", routingKey: "celery" },
      { name: "direct", exchange: "d", routingKey: "d-key" },
      { name: "video", exchange: { name: "media", type: "topic" }, routingKey: "media.video.#" },
      { name: "image", exchange: { name: "media", type: "topic" }, routingKey: "media.image.#" },
      { name: "all", exchange: { name: "fan", type: "fanout" } },
    ],
  },
  {},
);

function place(to: Destination) {
  const { target, queue, declare } = placeOf(to, new Queues(config), config.taskDefaultQueue);
  const { exchange, routingKey, exchangeType = "direct" } = target;
  return [exchange, routingKey, exchangeType, queue?.name, declare.map((each) => each.name).join(" ")];
}

describe("a message for a queue", () => {
  const cases: readonly (readonly [what: string, to: Destination, place: readonly (string | undefined)[]])[] = [
    ["nothing is said of goes to the default queue", {}, ["", "celery", "direct", "celery", "celery"]],
    [
      "with a direct exchange goes by the default exchange",
      { queue: "direct" },
      ["", "direct", "direct", "direct", "direct"],
    ],
    [
      "with a direct exchange has no use for a key alone, as in Celery",
      { queue: "direct", routingKey: "x" },
      ["", "direct", "direct", "direct", "direct"],
    ],
    [
      "with a direct exchange has no use for an exchange alone",
      { queue: "direct", exchange: "e" },
      ["", "direct", "direct", "direct", "direct"],
    ],
    [
      "goes by exchange and key where both are given",
      { queue: "direct", exchange: "e", routingKey: "k" },
      ["e", "k", "direct", "direct", "direct"],
    ],
    ["nobody described is made", { queue: "new" }, ["", "new", "direct", "new", "new"]],
    [
      "with a topic exchange goes there, by the queue's key",
      { queue: "video" },
      ["media", "media.video.#", "topic", "video", "video image"],
    ],
    [
      "with a topic exchange goes there, by the key that is given",
      { queue: "video", routingKey: "media.video.cut" },
      ["media", "media.video.cut", "topic", "video", "video image"],
    ],
    [
      "of the default queue may go by an exchange that others hear of",
      { exchange: "media", routingKey: "media.image.cut" },
      ["media", "media.image.cut", "topic", "celery", "celery video image"],
    ],
    ["with a fanout exchange goes there", { queue: "all" }, ["fan", "celery", "fanout", "all", "all"]],
    [
      "may go by an exchange of a type that is said",
      { exchange: "e", exchangeType: "topic", routingKey: "k" },
      ["e", "k", "topic", "celery", "celery"],
    ],
    [
      "is reached alone by the default exchange and its name",
      { exchange: "", routingKey: "video", queue: "video" },
      ["", "video", "direct", "video", "video"],
    ],
  ];
  for (const [what, to, expected] of cases) {
    test(what, () => {
      assert.deepEqual(place(to), expected);
    });
  }

  test("never carries the digits of a delay that is over", () => {
    const key = delayedKey(5, "media.video.cut") as string;
    assert.deepEqual(place({ queue: "video", routingKey: key })[1], "media.video.cut");
  });

  test("that the app does not know, and is not to make, is not declared", () => {
    const closed = readConfig({ taskQueues: ["mail"], taskCreateMissingQueues: false }, {});
    const { target, queue, declare } = placeOf(
      { queue: "other", exchange: "", routingKey: "other" },
      new Queues(closed),
      "celery",
    );
    assert.deepEqual([target.exchange, target.routingKey, queue, declare], ["", "other", undefined, []]);
  });
});
