/** What a Redis must be for a schedule, and what is said of one that is not. Each on a server of the test's own. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { inspect } from "node:util";
import { freePorts } from "../../scripts/services/ports.ts";
import { openRedisSchedule, type RedisScheduleOptions } from "../../src/schedule/stores/redis.ts";
import { dueAt } from "../../src/testing/schedule-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import { needRedisServer, rawClient, startRedis } from "../support/redis.ts";
import { until } from "../support/until.ts";

const { skip } = needRedisServer();
const HANG = { timeout: 60_000, skip };

interface Logged {
  readonly log: NonNullable<RedisScheduleOptions["log"]>;
  readonly lines: string[];
}

function logged(): Logged {
  const lines: string[] = [];
  const line = (message: string) => void lines.push(message);
  return { log: { info: line, warn: line, error: line }, lines };
}

async function opened(t: TestContext, url: string, options: RedisScheduleOptions = {}) {
  const store = await openRedisSchedule(url, options);
  atEnd(t, () => store.close());
  return store;
}

/** Opening fails with the code, and one line that says so; the password is not in it. */
async function refused(url: string, code: string, message: RegExp, options: RedisScheduleOptions = {}): Promise<void> {
  await assert.rejects(openRedisSchedule(url, options), (error: Error & { code?: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /\n/);
    // What is printed of it, causes and all.
    assert.doesNotMatch(inspect(error, { depth: 9 }), /sesame/);
    return true;
  });
}

describe("the durability of a schedule in Redis is what the server's configuration gives", HANG, () => {
  for (const [level, lines, remark] of [
    ["strict", ["appendonly yes", "appendfsync always"], undefined],
    ["process", ["appendonly yes", "appendfsync always", "no-appendfsync-on-rewrite yes"], /no-appendfsync-on-rewrite/],
    ["process", ["appendonly yes", "appendfsync no"], /appendfsync is no: power loss/],
    ["memory", ["appendonly yes", "appendfsync everysec"], /everysec: up to two seconds.*set it to always/],
    ["memory", [], /appendonly is not yes/],
  ] as const) {
    test(`${level}: ${lines.join(", ") || "no append-only file"}`, async (t) => {
      const server = await startRedis(t, ...lines);
      const { log, lines: said } = logged();
      const store = await opened(t, server.url, { log });
      assert.equal(store.durability, level);
      assert.equal(said.length, remark === undefined ? 0 : 1);
      if (remark !== undefined) assert.match(said[0] ?? "", remark);
    });
  }

  test("and after a reconnect what it gives then; the change is in the log", async (t) => {
    const server = await startRedis(t, "appendonly yes", "appendfsync always");
    const { log, lines } = logged();
    const store = await opened(t, server.url, { log });
    assert.equal(store.durability, "strict");
    await server.stop();
    await server.start("appendfsync no");
    await until(() => store.durability === "process");
    assert.match(lines.at(-1) ?? "", /level "process": appendfsync is no/);
    await server.stop();
    await server.start("appendfsync always");
    await until(() => store.durability === "strict");
    assert.match(lines.at(-1) ?? "", /level "strict" now/);
  });
});

describe("a Redis that may lose what it acknowledged is refused", HANG, () => {
  test("one that evicts, with and without a limit of memory, with what to do", async (t) => {
    for (const lines of [["maxmemory-policy allkeys-lru"], ["maxmemory-policy volatile-ttl", "maxmemory 64mb"]]) {
      const server = await startRedis(t, ...lines);
      await refused(server.url, "ERR_STORE_POLICY", /127\.0\.0\.1:\d+ may evict .*maxmemory-policy \S+\).*noeviction/);
      assert.deepEqual(await rawClient(t, server.url).keys("*"), [], "nothing was written");
    }
  });

  test("one that begins to evict is refused at the next connect, and used again when it does not any more", async (t) => {
    const server = await startRedis(t);
    const { log, lines } = logged();
    const store = await opened(t, server.url, { log });
    const client = rawClient(t, server.url);
    await client.config("SET", "maxmemory-policy", "allkeys-lru");
    await client.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await until(() => lines.some((line) => /may evict/.test(line)));
    await assert.rejects(store.put([dueAt(1)]), { code: "ERR_STORE_POLICY", message: /noeviction/ });
    await client.config("SET", "maxmemory-policy", "noeviction");
    await until(() =>
      store.put([dueAt(1)]).then(
        () => true,
        () => false,
      ),
    );
  });

  test("a replica", async (t) => {
    const master = await startRedis(t);
    const replica = await startRedis(t, `replicaof 127.0.0.1 ${master.port}`);
    await refused(replica.url, "ERR_STORE_POLICY", /read-only replica: name its master/);
  });

  test("one whose user may not ask for its configuration is used, and the log says what is not known", async (t) => {
    const server = await startRedis(
      t,
      "appendonly yes",
      "appendfsync always",
      "user worker on >sesame ~{lovage:*}* &{lovage:*}* +@all -@dangerous +info",
      "user blind on >sesame ~{lovage:*}* &{lovage:*}* +@all -@dangerous",
    );
    const { log, lines } = logged();
    const store = await opened(t, `redis://worker:sesame@127.0.0.1:${server.port}`, { log });
    assert.equal(store.durability, "memory");
    assert.match(lines.join(), /does not tell its appendfsync/);
    assert.equal((await store.put([dueAt(1)]))[0]?.put, "added");
    const blind = logged();
    await opened(t, `redis://blind:sesame@127.0.0.1:${server.port}`, { log: blind.log });
    assert.match(blind.lines.join(), /does not tell its maxmemory-policy \(must be noeviction\)/);
    assert.doesNotMatch([...lines, ...blind.lines].join(), /sesame/);
  });
});

describe("opening a schedule where there is none says so in one line", HANG, () => {
  test("nothing listens there, nobody has that name, nobody answers", async (t) => {
    const [port] = (await freePorts(1)) as [number];
    await refused(
      `redis://u:sesame@127.0.0.1:${port}`,
      "ERR_STORE_UNAVAILABLE",
      /127\.0\.0\.1:\d+: nothing listens there/,
    );
    await refused("redis://no-such-host.invalid", "ERR_STORE_UNAVAILABLE", /"no-such-host.invalid" is not known/);
    const silent = createServer(() => undefined);
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    atEnd(t, () => void silent.close());
    const { port: silentPort } = silent.address() as AddressInfo;
    await refused(`redis://:sesame@127.0.0.1:${silentPort}`, "ERR_STORE_UNAVAILABLE", /does not answer as Redis does/, {
      connectMs: 200,
    });
  });

  test("what listens there is no Redis", async (t) => {
    const web = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    web.listen(0, "127.0.0.1");
    await once(web, "listening");
    atEnd(t, () => void web.close());
    const { port } = web.address() as AddressInfo;
    await refused(
      `redis://127.0.0.1:${port}`,
      "ERR_STORE_UNAVAILABLE",
      /does not speak Redis' protocol|answer as Redis/,
    );
  });

  test("no password, a wrong one, one too many; a database that is not there", async (t) => {
    const locked = await startRedis(t, "requirepass opensesame");
    const at = `127.0.0.1:${locked.port}`;
    await refused(locked.url, "ERR_STORE_POLICY", /asks for a password \(NOAUTH\): put it into the URL/);
    await refused(`redis://:sesame@${at}`, "ERR_STORE_POLICY", new RegExp(`${at}: user or password is wrong`));
    await refused(`redis://nobody:sesame@${at}`, "ERR_STORE_POLICY", /user or password is wrong/);
    await opened(t, `redis://:opensesame@${at}/3`);
    await refused(`redis://:opensesame@${at}/99`, "ERR_STORE_POLICY", /it has no database 99/);
    const open = await startRedis(t);
    await refused(
      `redis://:sesame@127.0.0.1:${open.port}`,
      "ERR_STORE_POLICY",
      /it has no password, and the URL names one/,
    );
  });

  test("a user who may not write there", async (t) => {
    const server = await startRedis(t, "user reader on >sesame ~* &* +@read +@connection +info +config");
    await refused(`redis://reader:sesame@127.0.0.1:${server.port}`, "ERR_STORE_POLICY", /does not let this user/);
  });

  test("TLS where there is none, none where there is TLS, a certificate that nobody signed", async (t) => {
    const plain = await startRedis(t);
    await refused(`rediss://127.0.0.1:${plain.port}`, "ERR_STORE_UNAVAILABLE", /TLS \(redis:\/\/ if it does not\)/);
    const [tlsPort] = (await freePorts(1)) as [number];
    const pem = join(import.meta.dirname, "../fixtures/tls-localhost.pem");
    await startRedis(
      t,
      `tls-port ${tlsPort}`,
      `tls-cert-file ${pem}`,
      `tls-key-file ${pem}`,
      "tls-auth-clients no",
      `tls-ca-cert-file ${pem}`,
    );
    await refused(`redis://127.0.0.1:${tlsPort}`, "ERR_STORE_UNAVAILABLE", /rediss:\/\/ if it speaks TLS/, {
      connectMs: 1_000,
    });
    await refused(
      `rediss://localhost:${tlsPort}`,
      "ERR_STORE_UNAVAILABLE",
      /signed by nobody that we trust.*NODE_EXTRA_CA_CERTS/,
    );
  });

  test("what lies there was made by a newer Lovage, or by another program", async (t) => {
    const server = await startRedis(t);
    const client = rawClient(t, server.url);
    await client.set("{lovage:newer}:schema", "2");
    await refused(server.url, "ERR_STORE_SCHEMA", /newer Lovage \(its schema is 2, ours 1\)/, { namespace: "newer" });
    await client.lpush("{lovage:strange}:schema", "x");
    await refused(server.url, "ERR_STORE_SCHEMA", /belongs to another program/, { namespace: "strange" });
    assert.equal(await client.get("{lovage:newer}:schema"), "2", "it is left as it is");
  });

  test("a URL that is none, before anybody is asked", async () => {
    for (const [url, message] of [
      ["redis://a:6379,b:6379", /redis\+sentinel.*redis\+cluster/],
      ["redis+sentinel://:sesame@a:1", /names no master/],
      ["redis+cluster://a/3", /only database 0/],
      ["redis://a/x", /where a database is named/],
      ["redis://a:99999", /host:port/],
      ["redis://:sesame@a/0?timeout=5", /unknown parameter "timeout"/],
      ["redis://:%zz@a", /percent-encoded/],
      ["redis:a", /cannot be read/],
    ] as const) {
      await refused(url, "ERR_INVALID_INPUT", message);
    }
    await refused("redis://a", "ERR_INVALID_INPUT", /namespace/, { namespace: "" });
  });
});
