import assert from "node:assert/strict";
import { test } from "node:test";
import { prefixOf, transportOptions } from "../../../src/results/redis/options.ts";

test("a prefix is followed by _, unless it ends with what separates, as in Celery", () => {
  const prefixes = ["", "myapp", "myapp_", "myapp:", "myapp-", "myapp.", "my:app", "a/", "ž"];
  assert.deepEqual(prefixes.map(prefixOf), [
    "",
    "myapp_",
    "myapp_",
    "myapp:",
    "myapp-",
    "myapp.",
    "my:app_",
    "a/_",
    "ž_",
  ]);
});

test("options are read under Celery's names; those of others are passed over, unknown ones named", () => {
  const options = transportOptions({
    global_keyprefix: "p",
    master_name: "m",
    sentinel_kwargs: { password: "s", socket_timeout: 1 },
    retry_policy: { max_retries: 5, interval_max: 2 },
    visibility_timeout: 5,
    result_chord_ordered: true,
    globl_keyprefix: "x",
  });
  assert.deepEqual(options, {
    prefix: "p_",
    masterName: "m",
    sentinelUsername: undefined,
    sentinelPassword: "s",
    patienceMs: 10_000,
    unknown: ["globl_keyprefix"],
  });
  assert.equal(transportOptions({}).patienceMs, undefined);
  assert.equal(transportOptions({ retry_policy: { max_retries: null } }).patienceMs, Number.POSITIVE_INFINITY);
});

test("every wrong one is named", () => {
  assert.throws(
    () =>
      transportOptions({
        global_keyprefix: 5,
        master_name: ["m"],
        sentinel_kwargs: "x",
        retry_policy: { max_retries: -1, interval_max: "1" },
      }),
    (error: Error & { problems?: readonly string[] }) => {
      assert.equal(error.problems?.length, 5);
      assert.match(error.message, /result_backend_transport_options\.global_keyprefix must be a text; it was 5/);
      return true;
    },
  );
});
