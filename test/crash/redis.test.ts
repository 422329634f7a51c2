/** Crashes on a schedule in Redis: workers killed and stopped, and the server itself killed and started again. */
import { describe, test } from "node:test";
import { needRedisServer } from "../support/redis.ts";
import { smallCrash } from "./small.ts";

const { skip } = needRedisServer();

describe("Redis keeps its promises", { skip }, () => {
  test("while workers are killed and stopped, and the server is killed", async (t) => {
    await smallCrash(t, "redis", [
      ["kill", 2, 500],
      ["server", 2, 500],
      ["stop", 1, 500],
    ]);
  });
});
