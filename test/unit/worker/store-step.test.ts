import assert from "node:assert/strict";
import { test } from "node:test";
import { reachesOthers } from "../../../src/worker/steps/store.ts";

test("a worker sends on what it does not serve only where the message can reach who does", () => {
  for (const [broker, schedule, reaches] of [
    ["amqp://localhost", "redis://localhost", true],
    ["AMQPS://localhost", "sqlite:a.db", true],
    ["sqlite:a.db", "sqlite:a.db", true],
    ["sqlite:a.db", "sqlite:b.db", true],
    ["memory://a", "memory://b", true],
    ["sqlite:a.db", "redis://localhost", false],
    ["sqlite:a.db", "postgres://localhost/shop", false],
    ["sqlite:a.db", "redis+cluster://a,b", false],
    ["memory://a", "sqlite:a.db", false],
    ["memory://a", "rediss://localhost", false],
  ] as const) {
    assert.equal(reachesOthers({ broker, schedule }), reaches, `${broker} and ${schedule}`);
  }
});
