/** Results in Redis when things go wrong: lines that are cut, servers that are killed, users that may not. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { Lovage } from "lovage";
import { freePorts } from "../../scripts/services/ports.ts";
import { encodeResult, type ResultDocument } from "../../src/protocol/result.ts";
import { openRedisResults, type RedisResults, type RedisResultsOptions } from "../../src/results/redis.ts";
import { atEnd } from "../support/cleanup.ts";
import { needRedisServer, rawClient, startRedis, throughProxy } from "../support/redis.ts";
import { until } from "../support/until.ts";

const { skip } = needRedisServer();
const HANG = { timeout: 90_000, skip };
const KEY = "celery-task-meta-";

const documentOf = (task_id: string, status = "SUCCESS", result = "1"): ResultDocument => ({
  task_id,
  status,
  result,
  traceback: null,
  children: null,
  date_done: null,
});

async function opened(t: TestContext, url: string, options: RedisResultsOptions = {}): Promise<RedisResults> {
  const results = await openRedisResults(url, options);
  atEnd(t, () => results.close());
  return results;
}

/** What each of these tasks was told. */
async function watchAll(results: RedisResults, ids: readonly string[]) {
  const told = new Map<string, string[]>(ids.map((id) => [id, []]));
  const watches = await Promise.all(
    ids.map((id) => results.watch(id, ({ status, result }) => void told.get(id)?.push(`${status} ${result}`))),
  );
  return {
    told,
    all: () => [...told.values()].every((each) => each.length > 0),
    stop: () => {
      for (const each of watches) each.stop();
    },
  };
}

const someIds = (count: number) => Array.from({ length: count }, () => randomUUID());

describe("results in Redis", HANG, () => {
  test("are heard after the line was cut in the middle of a thousand waits, also those of meanwhile, each once", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const results = await opened(t, url);
    const direct = await opened(t, server.url);
    const ids = someIds(1_000);
    const before = ids.slice(0, 300);
    const { told, all } = await watchAll(results, ids);
    for (const id of before) await direct.store(documentOf(id, "PROGRESS", "0"), 60_000);
    await until(() => before.every((id) => told.get(id)?.length === 1));

    proxy.sever();
    const cut = performance.now();
    await Promise.all(ids.map((id) => direct.store(documentOf(id), 60_000)));
    proxy.sever();
    await until(all);
    await until(() => before.every((id) => told.get(id)?.length === 2));

    for (const [i, id] of ids.entries()) {
      assert.deepEqual(
        told.get(id),
        i < 300 ? ["PROGRESS 0", "SUCCESS 1"] : ["SUCCESS 1"],
        `${performance.now() - cut}`,
      );
    }
  });

  test("are heard after the server was killed and came back with nothing, when they are stored then", async (t) => {
    const server = await startRedis(t);
    const results = await opened(t, server.url);
    const ids = someIds(1_000);
    const { told, all } = await watchAll(results, ids);

    await server.kill9();
    const storing = ids.slice(0, 100).map((id) => results.store(documentOf(id), 60_000));
    await server.start();
    await Promise.all(storing);
    await Promise.all(ids.slice(100).map((id) => results.store(documentOf(id), 60_000)));
    await until(all);

    for (const id of ids) assert.deepEqual(told.get(id), ["SUCCESS 1"]);
  });

  test("are waited for by an app through such a loss, all with one deadline", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const app = new Lovage("waits", { broker: "memory://", backend: url }, { env: {} });
    atEnd(t, () => app.close());
    const direct = await opened(t, server.url);
    const ids = someIds(1_000);
    const waits = ids.map((id) => app.result<number>(id).get({ timeout: 60 }));
    const together = app.results<number>(ids).get({ timeout: 60 });
    await until(async () => (await subscribed(t, server.url)) === ids.length);

    proxy.sever();
    await Promise.all(ids.map((id, i) => direct.store(documentOf(id, "SUCCESS", String(i)), 60_000)));

    const values = ids.map((_, i) => i);
    assert.deepEqual(await Promise.all(waits), values);
    assert.deepEqual(await together, values);
    await until(async () => (await subscribed(t, server.url)) === 0);
  });

  test("whose answer was lost are stored again, and tell the same", async (t) => {
    const server = await startRedis(t);
    const { url, proxy } = await throughProxy(t, server.url);
    const results = await opened(t, url);
    const id = randomUUID();
    await results.store(documentOf("first"), 0);

    proxy.cutAnswers(true);
    const storing = results.store(documentOf(id, "FAILURE"), 60_000);
    await until(async () => (await rawClient(t, server.url).exists(KEY + id)) === 1);
    proxy.cutAnswers(false);
    await storing;

    assert.equal((await results.get(id))?.status, "FAILURE");
  });

  test("twenty thousand waits take a few commands, one connection, and no polling", async (t) => {
    const server = await startRedis(t);
    const results = await opened(t, server.url);
    const ids = someIds(20_000);
    const raw = rawClient(t, server.url);
    await raw.call("CONFIG", "RESETSTAT");

    const { told, all, stop } = await watchAll(results, ids);
    const calls = await callsOf(raw);
    const clients = String(await raw.call("CLIENT", "LIST"))
      .split("\n")
      .filter((line) => line.includes("lovage-results"));
    await Promise.all(ids.map((id) => results.store(documentOf(id), 60_000)));
    await until(all);
    stop();
    await until(async () => (await subscribed(t, server.url)) === 0);

    assert.ok((calls.subscribe ?? 0) <= 100, `${calls.subscribe} SUBSCRIBE`);
    assert.ok((calls.mget ?? 0) <= 400, `${calls.mget} MGET`);
    assert.deepEqual([calls.get, clients.length], [undefined, 2]);
    for (const id of ids) assert.deepEqual(told.get(id), ["SUCCESS 1"]);
  });

  test("are stored after the server lost its scripts, and a SUCCESS stands whoever wrote it, and however", async (t) => {
    const server = await startRedis(t);
    const results = await opened(t, server.url);
    const raw = rawClient(t, server.url);
    const stand: Record<string, boolean> = {
      '{"status": "SUCCESS", "result": NaN, "task_id": "x"}': true,
      '{"result": "a", "task_id": "x", "status":"SUCCESS"}': true,
      '{"status": "PROGRESS", "result": "\\"SUCCESS\\"", "task_id": "x"}': false,
      '{"status": "PROGRESS", "result": {"status": "SUCCESS"}, "task_id": "x"}': false,
      '{"status": "FAILURE", "result": null, "task_id": "x"}': false,
      "status: SUCCESS": false,
      '"SUCCESS"': false,
    };

    for (const [text, stands] of Object.entries(stand)) {
      await raw.set(`${KEY}x`, text);
      await raw.call("SCRIPT", "FLUSH");
      await results.store(documentOf("x", "FAILURE", "7"), 60_000);
      assert.equal((await raw.get(`${KEY}x`)) === text, stands, text);
    }
  });

  test("are kept as Celery keeps them: its key, its text, its time; published on the same name", async (t) => {
    const server = await startRedis(t);
    const raw = rawClient(t, `${server.url}/5`);
    const heard: unknown[] = [];
    const listener = rawClient(t, server.url);
    await listener.psubscribe("*");
    listener.on("pmessage", (_pattern, channel, text) => heard.push([channel, text]));
    for (const [prefix, before] of [
      ["", ""],
      ["myapp", "myapp_"],
      ["myapp:", "myapp:"],
      ["a-", "a-"],
      ["a.", "a."],
      ["a_", "a_"],
    ]) {
      const transport = prefix === "" ? {} : { global_keyprefix: prefix };
      const results = await opened(t, `${server.url}/5`, { transport });
      await results.store(documentOf("id", "STARTED"), 0);
      assert.equal(await raw.pttl(`${before}${KEY}id`), -1);
      await results.store(documentOf("id"), 86_400_000);
      const leftMs = await raw.pttl(`${before}${KEY}id`);
      assert.ok(leftMs > 86_300_000 && leftMs <= 86_400_000, String(leftMs));
      assert.equal(await raw.get(`${before}${KEY}id`), encodeResult(documentOf("id")));
      await results.forget("id");
      assert.equal(await raw.exists(`${before}${KEY}id`), 0);
      assert.deepEqual(heard.splice(0), [
        [`${before}${KEY}id`, encodeResult(documentOf("id", "STARTED"))],
        [`${before}${KEY}id`, encodeResult(documentOf("id"))],
      ]);
    }
    await opened(t, server.url);
    assert.equal(await rawClient(t, server.url).dbsize(), 0, "the database of the URL, and no other");
  });

  test("that are none of JSON are refused to who asks, and passed over by who waits", async (t) => {
    const server = await startRedis(t);
    const lines: string[] = [];
    const line = (message: string) => void lines.push(message);
    const results = await opened(t, server.url, { log: { info: line, warn: line, error: line } });
    const raw = rawClient(t, server.url);
    await raw.set(`${KEY}pickled`, Buffer.from("80049502", "hex"));
    await assert.rejects(results.get("pickled"), { code: "ERR_DECODE" });
    await assert.rejects(
      results.watch("pickled", () => undefined),
      { code: "ERR_DECODE" },
    );
    const { told } = await watchAll(results, ["x"]);
    await raw.publish(`${KEY}x`, "not a document");
    await results.store(documentOf("x"), 0);
    await until(() => told.get("x")?.length === 1);
    assert.ok(
      lines.some((each) => /A result of task x cannot be read.*not JSON/.test(each)),
      lines.join("\n"),
    );
    await raw.del(`${KEY}list`);
    await raw.lpush(`${KEY}list`, "1");
    await assert.rejects(results.get("list"), { code: "ERR_STORE_SCHEMA", message: /another program/ });
  });

  test("say what is wrong: nobody there, a wrong password, a user without rights, no memory", async (t) => {
    const [dead] = (await freePorts(1)) as [number];
    await assert.rejects(openRedisResults(`redis://127.0.0.1:${dead}`), {
      code: "ERR_STORE_UNAVAILABLE",
      message: /nothing listens/,
    });
    const server = await startRedis(t, "requirepass sesame");
    const raw = rawClient(t, `redis://:sesame@127.0.0.1:${server.port}`);
    await assert.rejects(openRedisResults(`${server.url}/0?x=1`), {
      code: "ERR_INVALID_INPUT",
      message: /result backend URL.*"x"/,
    });
    await assert.rejects(openRedisResults(`redis://:wrong@127.0.0.1:${server.port}`), {
      code: "ERR_STORE_POLICY",
      message: /password is wrong/,
    });
    await raw.call(
      "ACL",
      "SETUSER",
      "worker",
      "on",
      ">sesame",
      `~${KEY}*`,
      `&${KEY}*`,
      "+@read",
      "+@write",
      "+@scripting",
      "+@pubsub",
      "+select",
      "+ping",
    );
    await raw.call("ACL", "SETUSER", "reader", "on", ">sesame", `~${KEY}*`, "+get");
    const login = { username: "worker", password: "sesame" };
    const results = await opened(t, server.url, login);
    const { told } = await watchAll(results, ["x"]);
    await results.store(documentOf("x"), 1_000);
    await until(() => told.get("x")?.length === 1);
    await results.forget("x");
    const reader = await opened(t, `redis://reader:sesame@127.0.0.1:${server.port}`, { patienceMs: 300, ...login });
    await assert.rejects(reader.store(documentOf("x"), 0), {
      code: "ERR_STORE_POLICY",
      message: /~celery-task-meta-\*/,
    });
    await assert.rejects(
      reader.watch("x", () => undefined),
      { code: "ERR_STORE_UNAVAILABLE", message: /cannot be listened to/ },
    );
    await raw.call("CONFIG", "SET", "maxmemory", "1");
    await assert.rejects(results.store(documentOf("y"), 0), { code: "ERR_STORE_FULL", message: /maxmemory/ });
    await results.get("y");
  });

  test("of a server that is away for longer than we are patient say so; closing does not wait for it", async (t) => {
    const server = await startRedis(t);
    const results = await opened(t, server.url, { patienceMs: 500 });
    await server.stop();

    await assert.rejects(results.store(documentOf("x"), 0), { code: "ERR_STORE_UNAVAILABLE" });
    await assert.rejects(results.get("x"), { code: "ERR_STORE_UNAVAILABLE" });
    await assert.rejects(
      results.watch("x", () => undefined),
      { code: "ERR_STORE_UNAVAILABLE" },
    );
    const patient = await openAgain(t, server);
    await server.stop();
    const waiting = [patient.store(documentOf("x"), 0), patient.get("x"), patient.watch("x", () => undefined)];
    const refused = waiting.map((each) => assert.rejects(each, { code: "ERR_CLOSED" }));
    await until(() => true);
    await patient.close();
    await Promise.all(refused);
  });

  test("go on with the next master, by Celery's own URL of Sentinels", async (t) => {
    const master = await startRedis(t);
    const replica = await startRedis(t, `replicaof 127.0.0.1 ${master.port}`, "repl-diskless-sync-delay 0");
    const sentinel = await startRedis(
      t,
      `sentinel monitor shop 127.0.0.1 ${master.port} 1`,
      "sentinel down-after-milliseconds shop 300",
      "sentinel failover-timeout shop 3000",
    );
    const raw = rawClient(t, sentinel.url);
    await until(async () => ((await raw.call("SENTINEL", "REPLICAS", "shop")) as unknown[]).length === 1);
    const [dead] = (await freePorts(1)) as [number];
    const url = `sentinel://127.0.0.1:${dead}/4;sentinel://127.0.0.1:${sentinel.port}`;
    await assert.rejects(openRedisResults(url), { code: "ERR_INVALID_INPUT", message: /master_name/ });
    const results = await opened(t, url, { transport: { master_name: "shop" }, patienceMs: 60_000 });
    await results.store(documentOf("kept"), 0);
    await until(async () => (await rawClient(t, `${replica.url}/4`).exists(`${KEY}kept`)) === 1);
    const { told } = await watchAll(results, ["x"]);

    await master.kill9();
    await results.store(documentOf("x"), 0);

    await until(() => told.get("x")?.length === 1);
    assert.equal((await results.get("kept"))?.status, "SUCCESS");
    assert.equal(await rawClient(t, `${replica.url}/4`).exists(`${KEY}x`), 1);
  });

  test("go over TLS, with Celery's parameters in the URL or the setting", async (t) => {
    const pem = join(import.meta.dirname, "../fixtures/tls-localhost.pem");
    const [tlsPort] = (await freePorts(1)) as [number];
    const tls = [
      `tls-port ${tlsPort}`,
      `tls-cert-file ${pem}`,
      `tls-key-file ${pem}`,
      "tls-auth-clients no",
      `tls-ca-cert-file ${pem}`,
    ];
    await startRedis(t, ...tls);
    const ca = encodeURIComponent(pem);

    const byUrl = await opened(t, `rediss://localhost:${tlsPort}/0?ssl_cert_reqs=required&ssl_ca_certs=${ca}`);
    await byUrl.store(documentOf("x"), 0);
    const bySetting = await opened(t, `redis://localhost:${tlsPort}`, {
      ssl: { ssl_cert_reqs: "CERT_REQUIRED", ssl_ca_certs: pem },
    });
    assert.equal((await bySetting.get("x"))?.status, "SUCCESS");
    await assert.rejects(openRedisResults(`rediss://localhost:${tlsPort}`), {
      code: "ERR_STORE_UNAVAILABLE",
      message: /signed by nobody that we trust/,
    });
    await assert.rejects(openRedisResults(`rediss://localhost:${tlsPort}?ssl_cert_reqs=none`), {
      code: "ERR_INVALID_INPUT",
      message: /ssl_cert_reqs/,
    });
  });
});

async function openAgain(t: TestContext, server: { url: string; start(): Promise<void> }): Promise<RedisResults> {
  await server.start();
  return opened(t, server.url, { patienceMs: 60_000 });
}

async function subscribed(t: TestContext, url: string): Promise<number> {
  return ((await rawClient(t, url).call("PUBSUB", "CHANNELS")) as unknown[]).length;
}

async function callsOf(raw: ReturnType<typeof rawClient>): Promise<Record<string, number>> {
  const text = String(await raw.info("commandstats"));
  return Object.fromEntries(
    [...text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, calls]) => [name, Number(calls)]),
  );
}
