/** A schedule in PostgreSQL when connections, locks and the server itself fail it: what is told is true, and it goes on by itself. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chown, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { serverUser } from "../../scripts/services/postgres.ts";
import type { Claim } from "../../src/schedule/callback.ts";
import { openPostgresSchedule, type PostgresScheduleStore } from "../../src/schedule/stores/postgres.ts";
import { ALICE, add, BOB, claimOne, dueAt, ok } from "../../src/testing/schedule-fixtures.ts";
import { addRecurrence, planOf } from "../../src/testing/schedule-recurrence-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import {
  holdTables,
  named,
  needPostgres,
  needPostgresBinaries,
  ownSchema,
  startPostgres,
  throughProxy,
  withClient,
} from "../support/postgres.ts";

const run = promisify(execFile);
const { skip } = await needPostgres();
const TABLES = ["callbacks", "deltas", "owners", "tombstones", "recurrences"];
const LEASE_MS = 60_000;
const FAR_MS = Date.UTC(2100);

type Store = PostgresScheduleStore;

/** Each operation, with what it needs to have something to do. */
const CHANGES: Readonly<Record<string, (store: Store, claim: Claim, recurrence: string) => Promise<unknown>>> = {
  put: (store) => store.put([dueAt(FAR_MS)]),
  "put with a key": (store) => store.put([dueAt(FAR_MS, { key: "k2" })]),
  "put of a message": (store) => store.put([dueAt(FAR_MS, { taskId: "t" })]),
  cancel: (store) => store.cancel({ key: "k" }),
  reschedule: (store) => store.reschedule({ key: "k" }, { byMs: 1 }),
  claimDue: (store) => store.claimDue(BOB, 1, LEASE_MS),
  renew: (store, claim) => store.renew([claim], LEASE_MS),
  settle: (store, claim) => store.settle(claim, ok),
  release: (store, claim) => store.release([claim]),
  sweep: (store) => store.sweep(BOB, 10),
  takeAborts: (store) => store.takeAborts(ALICE),
  revoke: (store) => store.revoke("t-1", FAR_MS),
  enlist: (store) => store.enlist(BOB, []),
  resign: (store) => store.resign(BOB),
  "put of what recurs": (store) => addRecurrence(store, planOf(FAR_MS)),
  advance: (store, _, id) => store.recurrences.advance(id, { generation: 1, nextMs: FAR_MS }, planOf(FAR_MS + 1)),
  pause: (store, _, id) => store.recurrences.pause({ id }),
  resume: (store, _, id) => store.recurrences.resume({ id }, 1, planOf(FAR_MS)),
  "cancel of what recurs": (store, _, id) => store.recurrences.cancel({ id }),
};
const READS: Readonly<Record<string, (store: Store, recurrence: string) => Promise<unknown>>> = {
  get: (store) => store.get({ key: "k" }),
  list: (store) => store.list({ limit: 10 }),
  counts: (store) => store.counts(),
  upcoming: (store) => store.upcoming(BOB),
  revoked: (store) => store.revoked(["t"]),
  "get of what recurs": (store, id) => store.recurrences.get({ id }),
  "list of what recurs": (store) => store.recurrences.list({ limit: 1 }),
  "due of what recurs": (store) => store.recurrences.due(1),
};

/** Of what is asked at once: each read is one, what a worker does in a turn is one, puts are two (with a key or without), and cancels one. */
const STATEMENTS = Object.keys(READS).length + Object.keys(CHANGES).length - 4;

describe("a schedule in PostgreSQL", { skip }, () => {
  for (const how of ["is cut", "is terminated by the server"] as const) {
    test(`a connection that ${how} before the answer: changes are unknown, reads are unavailable, and the next call finds it again`, async (t) => {
      const { url, schema } = ownSchema(t);
      const name = `faults-${schema}`;
      const { url: proxied, proxy } = await throughProxy(t, named(url, name));
      const store = await openPostgresSchedule(proxied, { connections: 40 });
      atEnd(t, () => store.close());
      const direct = await openPostgresSchedule(url);
      atEnd(t, () => direct.close());
      await add(store, dueAt(FAR_MS, { key: "k" }));
      await add(store, dueAt(0));
      const claim = await claimOne(store, ALICE, LEASE_MS);
      const recurrence = await addRecurrence(store, planOf(FAR_MS));

      const hold = await holdTables(t, url, schema, TABLES);
      const changes = Object.entries(CHANGES).map(([op, run]) => outcome(op, run(store, claim, recurrence)));
      const reads = Object.entries(READS).map(([op, run]) => outcome(op, run(store, recurrence)));
      await hold.waiting(name, STATEMENTS);
      if (how === "is cut") proxy.sever();
      else for (let left = changes.length + reads.length; left > 0; left--) await hold.terminate(name);

      for (const each of await Promise.all(changes)) assert.match(each, /ERR_OUTCOME_UNKNOWN/, each);
      for (const each of await Promise.all(reads)) assert.match(each, /ERR_STORE_UNAVAILABLE/, each);
      await hold.release();
      // Whatever became of them, all of it or nothing.
      const put = await store.put([dueAt(FAR_MS, { key: "k2" })]);
      assert.match(put[0]?.put ?? "", /added|existing/);
      // On the server what was cut off goes on for a moment, and these are two looks: they agree when it is over.
      const disagree = async () => {
        const counted = Object.values(await direct.counts()).reduce((sum, n) => sum + n, 0);
        return counted !== (await direct.list({ limit: 1_000 })).callbacks.length;
      };
      while (await disagree());
      if (how !== "is cut") {
        assert.equal((await direct.get({ id: claim.callback.id }))?.state, "running", "the settle was rolled back");
        assert.equal((await direct.get({ key: "k" }))?.state, "scheduled", "the cancel was rolled back");
      }
    });
  }

  test("a single put with a key whose answer is lost names the key, and repeating it finds what became of it (A8)", async (t) => {
    const { url, schema } = ownSchema(t);
    const name = `a8-${schema}`;
    const { url: proxied, proxy } = await throughProxy(t, named(url, name));
    const store = await openPostgresSchedule(proxied);
    atEnd(t, () => store.close());
    const hold = await holdTables(t, url, schema, ["deltas"]);
    const lost = store.put([dueAt(FAR_MS, { key: "order:42" })]);
    const refused = assert.rejects(lost, { code: "ERR_OUTCOME_UNKNOWN", key: "order:42", message: /order:42/ });
    await hold.waiting(name);
    proxy.sever();
    await refused;
    await hold.release();

    const [again] = await store.put([dueAt(FAR_MS, { key: "order:42" })]);

    // The server did not notice that nobody waits for its answer: it was done.
    assert.equal(again?.put, "existing");
    assert.deepEqual(await store.counts(), { scheduled: 1 });
  });

  test("a claim whose server process is killed in the middle claims nothing (A11)", async (t) => {
    const { url, schema } = ownSchema(t);
    const name = `a11-${schema}`;
    const store = await openPostgresSchedule(named(url, name));
    atEnd(t, () => store.close());
    const id = await add(store, dueAt(0));
    // It waits where it counts what it has claimed.
    const hold = await holdTables(t, url, schema, ["deltas"]);
    const claiming = store.claimDue(ALICE, 1, LEASE_MS);
    const refused = assert.rejects(claiming, { code: "ERR_OUTCOME_UNKNOWN" });
    await hold.waiting(name);
    await hold.terminate(name);
    await refused;
    await hold.release();

    assert.deepEqual(await store.counts(), { scheduled: 1 });
    const claim = await claimOne(store);
    assert.deepEqual([claim.callback.id, claim.token, claim.attempt], [id, 1, 1]);
  });

  test("a cancel waits for a claim that is under way, and then says what is: running", async (t) => {
    const { url, schema } = ownSchema(t);
    const [one, two] = [`one-${schema}`, `two-${schema}`];
    const claimer = await openPostgresSchedule(named(url, one));
    const canceller = await openPostgresSchedule(named(url, two));
    atEnd(t, async () => void (await Promise.all([claimer.close(), canceller.close()])));
    const id = await add(claimer, dueAt(0));
    const hold = await holdTables(t, url, schema, ["deltas"]);
    const claiming = claimer.claimDue(ALICE, 1, LEASE_MS);
    await hold.waiting(one);
    const cancelling = canceller.cancel({ id });
    await hold.waiting(two);
    await hold.release();

    assert.deepEqual(await cancelling, { answer: "running", id });
    assert.equal((await claiming).claims.length, 1);
  });

  test("a row that somebody keeps locked: one clear error in time, its neighbours of the same turn are done, and claims pass it over", async (t) => {
    const { url, schema } = ownSchema(t);
    const store = await openPostgresSchedule(url, { lockWaitMs: 200 });
    atEnd(t, () => store.close());
    const [locked, other, third] = [await add(store, dueAt(0)), await add(store, dueAt(1)), await add(store, dueAt(2))];
    await withClient(url, async (client) => {
      await client.query("BEGIN");
      await client.query(`SELECT FROM "${schema}".callbacks WHERE due = 0 FOR UPDATE`);
      const stuck = assert.rejects(store.cancel({ id: locked }), {
        code: "ERR_STORE_UNAVAILABLE",
        message: /another transaction keeps.*nothing was done/,
      });
      const free = store.cancel({ id: other });
      await stuck;
      assert.deepEqual(await free, { answer: "cancelled", id: other });
      const { claims } = await store.claimDue(ALICE, 5, LEASE_MS);
      assert.deepEqual(
        claims.map(({ callback }) => callback.id),
        [third],
      );
      await client.query("COMMIT");
    });
    assert.deepEqual(await store.cancel({ id: locked }), { answer: "cancelled", id: locked });
  });

  test("when all its connections wait for a lock, the next call says so in time", async (t) => {
    const { url, schema } = ownSchema(t);
    const name = `busy-${schema}`;
    const store = await openPostgresSchedule(named(url, name), { connections: 1, connectMs: 100 });
    atEnd(t, () => store.close());
    const hold = await holdTables(t, url, schema, ["deltas"]);
    const waits = store.counts();
    await hold.waiting(name);
    await assert.rejects(store.upcoming(), { code: "ERR_STORE_UNAVAILABLE", message: /all connections.*are busy/ });
    await hold.release();
    assert.deepEqual(await waits, {});
  });

  test("a server that is silent: every call ends in time, and its connection with it", async (t) => {
    const { url } = ownSchema(t);
    const { url: proxied, proxy } = await throughProxy(t, url);
    const store = await openPostgresSchedule(proxied, { answerMs: 200, connectMs: 200 });
    atEnd(t, () => store.close());
    const id = await add(store, dueAt(FAR_MS));
    proxy.freeze();
    await assert.rejects(store.cancel({ id }), { code: "ERR_OUTCOME_UNKNOWN" });
    await assert.rejects(store.counts(), { code: "ERR_STORE_UNAVAILABLE" });
    await assert.rejects(store.put([dueAt(1)]), { code: "ERR_STORE_UNAVAILABLE", message: /cannot connect/ });
  });

  test("two that lock the same rows in opposite order both succeed: a deadlock is tried again", async (t) => {
    const { url } = ownSchema(t);
    const [one, two] = await Promise.all([openPostgresSchedule(url), openPostgresSchedule(url)]);
    atEnd(t, async () => void (await Promise.all([one.close(), two.close()])));
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`);
    await one.put(keys.map((key) => dueAt(FAR_MS, { key })));
    const replace = (store: Store, of: readonly string[]) =>
      store.put(of.map((key) => dueAt(FAR_MS + 1, { key, onConflict: "replace" })));
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all([replace(one, keys), replace(two, keys.toReversed())]);
      assert.ok(answers.flat().every(({ put }) => put === "replaced"));
    }
    assert.deepEqual(await one.counts(), { scheduled: keys.length });
  });

  test("hints come from other processes, not from ourselves, and again after their connection was lost", async (t) => {
    const { url, schema } = ownSchema(t);
    const listener = `listener-${schema}`;
    const [mine, other] = [await openPostgresSchedule(named(url, listener)), await openPostgresSchedule(url)];
    atEnd(t, async () => void (await Promise.all([mine.close(), other.close()])));
    const heard: unknown[] = [];
    let wake = () => {};
    const stop = mine.onChange((change) => {
      heard.push(change);
      wake();
    });
    const hears = async (count: number) => {
      while (heard.length < count) await new Promise<void>((resolve) => (wake = resolve));
    };
    await hears(1); // "something": it listens now
    const [later] = await mine.put([dueAt(FAR_MS, { queue: "почта" })]);
    await other.put([dueAt(FAR_MS + 1, { queue: "почта" }), dueAt(FAR_MS + 5, { queue: "почта" })]);
    await other.put([dueAt(FAR_MS - 1, { queue: "почта" })]);
    await hears(2);
    await other.reschedule({ id: later !== undefined && "id" in later ? later.id : "" }, { dueMs: FAR_MS - 2 });
    await hears(3);
    await mine.put([dueAt(0)]);
    const claim = await claimOne(mine);
    await other.cancel({ id: claim.callback.id }, { abort: true });
    await hears(4);
    assert.deepEqual(heard.splice(0), [
      {},
      { dueMs: FAR_MS - 1, queue: "почта" },
      { dueMs: FAR_MS - 2, queue: "почта" },
      { abort: true },
    ]);

    await withClient(url, (client) =>
      client.query("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = $1", [
        listener,
      ]),
    );
    await hears(1);
    await other.put([dueAt(1, { queue: "q" })]);
    await hears(2);
    assert.deepEqual(heard, [{}, { dueMs: 1, queue: "q" }]);
    stop();
  });

  test("without LISTEN it works all the same", async (t) => {
    const { url } = ownSchema(t);
    const deaf = new URL(url);
    deaf.searchParams.set("listen", "off");
    const store = await openPostgresSchedule(deaf.href);
    atEnd(t, () => store.close());
    store.onChange(() => assert.fail("nothing is listened to"))();
    const other = await openPostgresSchedule(url);
    atEnd(t, () => other.close());
    await store.put([dueAt(FAR_MS)]);
    await other.put([dueAt(5)]);
    assert.equal((await store.upcoming()).dueMs, 5);
  });
});

describe("a PostgreSQL of our own", needPostgresBinaries(), () => {
  test("stopped as by a crash and started again: nothing that was acknowledged is lost, and the store comes back by itself", async (t) => {
    const server = await startPostgres(t);
    const store = await openPostgresSchedule(server.url, { connectMs: 1_000 });
    atEnd(t, () => store.close());
    const acknowledged: string[] = [];
    const unknown: string[] = [];
    let enough = () => {};
    const many = new Promise<void>((resolve) => (enough = resolve));
    const client = async (lane: number) => {
      for (let i = 0; ; i++) {
        const key = `${lane}:${i}`;
        try {
          await store.put([dueAt(FAR_MS, { key })]);
          acknowledged.push(key);
          if (acknowledged.length === 300) enough();
        } catch (error) {
          assert.match((error as { code: string }).code, /ERR_OUTCOME_UNKNOWN|ERR_STORE_UNAVAILABLE/);
          unknown.push(key);
          return;
        }
      }
    };
    const clients = Promise.all(Array.from({ length: 10 }, (_, lane) => client(lane)));
    await many;
    await server.stop("immediate");
    await clients;
    await assert.rejects(store.put([dueAt(1)]), {
      code: "ERR_STORE_UNAVAILABLE",
      message: /nothing listens on 127\.0\.0\.1/,
    });
    await server.start();

    assert.equal((await store.put([dueAt(FAR_MS, { key: unknown[0] as string })])).length, 1);
    const kept = new Set<string>();
    let page = await store.list({ limit: 1_000 });
    for (;;) {
      for (const { key } of page.callbacks) kept.add(key as string);
      if (page.next === undefined) break;
      page = await store.list({ limit: 1_000, cursor: page.next });
    }
    assert.deepEqual(
      acknowledged.filter((key) => !kept.has(key)),
      [],
    );
    assert.deepEqual(await store.counts(), { scheduled: kept.size });
    assert.equal(store.durability, "strict");
  });

  const mayMount = process.getuid?.() === 0 && process.platform === "linux";
  const noMount = mayMount ? { skip: false as const } : { skip: "only root may mount a small disk" };

  test(
    "a full disk is said to be full, nothing of the call is done, what was acknowledged stays; with room again it goes on",
    noMount,
    async (t) => {
      const server = await startPostgres(t);
      const disk = await mkdtemp(join(tmpdir(), "lovage-disk-"));
      await run("mount", ["-t", "tmpfs", "-o", "size=8m,mode=777", "tmpfs", disk]);
      atEnd(t, async () => {
        await server.stop("immediate").catch(() => {});
        await run("umount", [disk]);
        await rm(disk, { recursive: true });
      });
      const tables = join(disk, "tables");
      await mkdir(tables);
      const user = serverUser();
      if (user !== undefined) await chown(tables, user.uid, user.gid);
      await withClient(server.url, async (client) => {
        await client.query(`CREATE TABLESPACE small LOCATION '${tables}'`);
        await client.query("ALTER DATABASE postgres SET default_tablespace = small");
      });
      const store = await openPostgresSchedule(server.url);
      atEnd(t, () => store.close());
      await writeFile(join(disk, "filler"), Buffer.alloc(3_000_000));
      const kept: string[] = [];
      let full: unknown;
      const body = "x".repeat(1_500);
      while (full === undefined) {
        try {
          kept.push(await add(store, dueAt(FAR_MS, { message: { task: "t", body, retries: 0 } })));
        } catch (error) {
          full = error;
        }
      }
      assert.equal((full as { code: string }).code, "ERR_STORE_FULL");
      assert.match((full as Error).message, /disk of .* is full: nothing was done/);
      assert.deepEqual(await store.counts(), { scheduled: kept.length });

      await rm(join(disk, "filler"));
      assert.deepEqual(await store.cancel({ id: kept[0] as string }), { answer: "cancelled", id: kept[0] });
      await add(store, dueAt(FAR_MS));
      assert.deepEqual(await store.counts(), { scheduled: kept.length, cancelled: 1 });
    },
  );

  test("without fsync it does not call itself strict", async (t) => {
    const server = await startPostgres(t, ["fsync = off"]);
    const store = await openPostgresSchedule(server.url);
    atEnd(t, () => store.close());
    assert.equal(store.durability, "process");
  });

  test("a wrong URL, or a server that will not have us, is one line that says what to correct, without the password", async (t) => {
    const server = await startPostgres(t, ["max_connections = 5", "superuser_reserved_connections = 0"]);
    const at = (parts: Partial<Record<"pathname" | "username" | "hostname" | "port" | "search", string>>) =>
      Object.assign(new URL(server.url), { password: "s3cret-pw", ...parts }).href;
    await withClient(server.url, (client) => client.query("CREATE ROLE locked NOLOGIN"));
    const { proxy: silent, url: silentUrl } = await throughProxy(t, at({}));
    silent.freeze();
    const cases: [string, string, RegExp][] = [
      [at({ pathname: "/none" }), "ERR_STORE_PATH", /no such database.*"none".*create it/],
      [at({ username: "nobody-here" }), "ERR_STORE_PATH", /"nobody-here".*may not log in/],
      [at({ username: "locked" }), "ERR_STORE_PATH", /may not log in/],
      [at({ search: "sslmode=require" }), "ERR_STORE_PATH", /does not speak TLS.*sslmode=disable/],
      [at({ hostname: "no-such-host.invalid" }), "ERR_STORE_PATH|ERR_STORE_UNAVAILABLE", /name/],
      [at({ port: "1" }), "ERR_STORE_UNAVAILABLE", /nothing listens on 127\.0\.0\.1:1/],
      [silentUrl, "ERR_STORE_UNAVAILABLE", /does not answer as PostgreSQL does/],
      ["postgres://u:s3cret-pw@h/d?sslmode=maybe", "ERR_INVALID_INPUT", /sslmode=maybe.*disable, require/],
      ["postgres://u:s3cret-pw@h/d?pool=5", "ERR_INVALID_INPUT", /unknown parameter "pool"/],
      ["postgres://u:s3cret-pw@h:99999/d", "ERR_INVALID_INPUT", /cannot be read/],
      ["mysql://u:s3cret-pw@h/d", "ERR_INVALID_INPUT", /"mysql".*postgres/],
    ];
    for (const [url, code, message] of cases) await refused(url, code, message);

    const busy = await Promise.all(
      Array.from({ length: 5 }, () => openPostgresSchedule(server.url, { connections: 1 })),
    );
    await refused(at({}), "ERR_STORE_UNAVAILABLE", /no connection left.*max_connections/);
    await Promise.all(busy.map((store) => store.close()));
  });

  async function refused(url: string, code: string, message: RegExp): Promise<void> {
    await assert.rejects(openPostgresSchedule(url, { connectMs: 500 }), (error: Error & { code: string }) => {
      assert.match(error.code, new RegExp(code), `${url}: ${error.message}`);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /s3cret-pw|\n/);
      return true;
    });
  }
});

async function outcome(op: string, running: Promise<unknown>): Promise<string> {
  try {
    return `${op}: ${JSON.stringify(await running)}`;
  } catch (error) {
    return `${op}: ${(error as { code?: string }).code} ${(error as Error).message}`;
  }
}
