import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseRedisUrl as parse } from "../../../src/redis/url.ts";

const parseRedisUrl = (text: string) => parse(text, "schedule");

const bad = (message: RegExp) => ({ code: "ERR_INVALID_INPUT", message });

describe("the URL of a schedule in Redis", () => {
  test("has defaults for all but its scheme", () => {
    const url = parseRedisUrl("redis://");
    assert.deepEqual(
      [url.kind, url.tls, url.addresses, url.username, url.password, url.database],
      ["single", false, [{ host: "localhost", port: 6_379 }], undefined, undefined, 0],
    );
  });

  test("names a server, with user, password and database, percent-decoded", () => {
    const url = parseRedisUrl("rediss://us%40er:p%3Ass%2F@[::1]:7000/12");
    assert.deepEqual(
      [url.tls, url.addresses, url.username, url.password, url.database, url.shown],
      [true, [{ host: "::1", port: 7_000 }], "us@er", "p:ss/", 12, "rediss://us%40er:**@[::1]:7000/12"],
    );
    const { username, password } = parseRedisUrl("redis://:word@host");
    assert.deepEqual([username, password], [undefined, "word"]);
  });

  test("names Sentinels, their master, and a database; their own user is a parameter", () => {
    const url = parseRedisUrl("redis+sentinel://u:p@a,b:1/my%20master/3?sentinel_user=s&sentinel_password=t");
    assert.deepEqual(url.addresses, [
      { host: "a", port: 26_379 },
      { host: "b", port: 1 },
    ]);
    assert.deepEqual(
      [url.kind, url.master, url.database, url.sentinelUsername, url.sentinelPassword],
      ["sentinel", "my master", 3, "s", "t"],
    );
    assert.equal(url.shown, "redis+sentinel://u:**@a,b:1/my%20master/3?sentinel_user=s&sentinel_password=**");
  });

  test("names nodes of a Cluster", () => {
    const url = parseRedisUrl("REDISS+Cluster://a:1,b:2/0");
    assert.deepEqual([url.kind, url.tls, url.addresses.length, url.database], ["cluster", true, 2, 0]);
  });

  test("that is none is refused, and never shows its password", () => {
    for (const [text, message] of [
      ["redis://h/0/1", /where a database is named/],
      ["redis://h/-1", /where a database is named/],
      ["redis+sentinel://:secret@h", /names no master/],
      ["redis+cluster://h/1", /only database 0/],
      ["redis://:secret@a,b", /several servers/],
      ["redis://:secret@h:0", /host:port/],
      ["redis://:secret@h:x", /host:port/],
      ["redis://:secret@[::1", /host:port/],
      ["redis://:%@h", /percent-encoded/],
      ["redis://:secret@h?db=1", /unknown parameter "db": there are none/],
      ["redis+sentinel://h/m?x=secret", /sentinel_user, sentinel_password/],
      ["redis+ring://:secret@h", /cannot be read/],
      ["redis://:sec#ret@h", /cannot be read/],
    ] as const) {
      assert.throws(() => parseRedisUrl(text), bad(message), text);
      assert.throws(
        () => parseRedisUrl(text),
        (error: Error) => !/secret@|sec#ret/.test(error.message),
      );
    }
  });
});
