/** Several processes on one embedded schedule, and processes that die in the middle. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openSqliteSchedule, type SqliteScheduleStore } from "../../src/schedule/stores/sqlite.ts";
import { endProcess, identify, type ProcessIdentity } from "../../src/sqlite/process-identity.ts";
import { ALICE, claimOne, dueAt, ok, swept } from "../../src/testing/schedule-fixtures.ts";

const HANG = { timeout: 120_000 };
const HOUR_MS = 3_600_000;
const PROGRAM = fileURLToPath(new URL("sqlite-child.ts", import.meta.url));

let folder: string;
let path: string;
const children: ChildProcess[] = [];
const stores: SqliteScheduleStore[] = [];
/** Processes that a test means to be ended by what it tests; ended here if that failed. */
const orphans: ProcessIdentity[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lovage-sqlite-"));
  path = join(folder, "lovage.db");
});

afterEach(async () => {
  for (const child of children.splice(0)) await ended(child, "SIGKILL");
  for (const orphan of orphans.splice(0)) endProcess(orphan);
  await Promise.all(stores.splice(0).map((store) => store.close()));
  await rm(folder, { recursive: true, force: true });
});

async function open(): Promise<SqliteScheduleStore> {
  const store = await openSqliteSchedule(path);
  stores.push(store);
  return store;
}

interface Child {
  readonly process: ChildProcess;
  /** What it said, as it comes. */
  readonly lines: AsyncIterableIterator<string>;
}

function start(what: string, options: object = {}): Child {
  const child = spawn(process.execPath, [PROGRAM, what, path, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  return {
    process: child,
    lines: createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator](),
  };
}

async function ended(child: ChildProcess, signal?: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  if (signal !== undefined) child.kill(signal);
  await exit;
}

async function said(child: Child): Promise<unknown> {
  const { value, done } = await child.lines.next();
  assert.notEqual(done, true, "the process ended before it said anything");
  return JSON.parse(value as string);
}

async function allSaid(child: Child): Promise<Record<string, unknown>[]> {
  const said = [];
  for await (const line of child.lines) said.push(JSON.parse(line));
  return said.filter((each) => typeof each === "object");
}

function quickCheck(): unknown {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    return db.prepare("PRAGMA integrity_check").get()?.integrity_check;
  } finally {
    db.close();
  }
}

test("three processes write one file: nothing is lost, and a key is one callback whoever puts it", HANG, async () => {
  const store = await open();
  const writers = [start("write", { count: 300, keys: 200 }), start("write", { from: 100, count: 300, keys: 200 })];
  const own: { key: string; put: string; id: unknown }[] = [];
  for (let i = 0; i < 200; i++) {
    const [answer] = await store.put([dueAt(Date.now() + HOUR_MS, { key: `key:${i}` })]);
    assert.ok(answer && "id" in answer);
    own.push({ key: `key:${i}`, put: answer.put, id: answer.id });
  }
  const told = [...(await Promise.all(writers.map(allSaid))).flat(), ...own];

  assert.equal(told.length, 800);
  const added = told.filter(({ put }) => put === "added");
  assert.equal(added.length, 200);
  const ids = new Map(added.map(({ key, id }) => [key, id]));
  for (const each of told) assert.equal(each.id, ids.get(each.key as string), "each is told the same id for a key");
  assert.deepEqual(await store.counts(), { scheduled: 200 });
  assert.equal(quickCheck(), "ok");
});

test(
  "a writer is killed again and again: what it was told is there, and repeating with the key is safe (A8)",
  HANG,
  async () => {
    const told = new Map<string, unknown>();
    for (let round = 0; round < 5; round++) {
      const child = start("write", { from: round * 1_000, count: 1_000, durability: "strict" });
      assert.equal(await said(child), "open");
      for (let i = 0; i < 20 + round * 17; i++) {
        const { key, id } = (await said(child)) as { key: string; id: unknown };
        told.set(key, id);
      }
      await ended(child.process, "SIGKILL");
      for (const { key, id } of await allSaid(child)) told.set(key as string, id);
    }

    const store = await open();
    assert.equal(quickCheck(), "ok");
    for (const [key, id] of told) assert.equal((await store.get({ key }))?.id, id, key);
    const answers = await store.put([...told.keys()].map((key) => dueAt(1, { key })));
    assert.ok(answers.every(({ put }) => put === "existing"));
  },
);

test("killed between the commit and its answer: the same put again answers what stands (A8)", HANG, async () => {
  const store = await open();
  const child = start("deaf");
  await new Promise<void>((resolve) => {
    const look = async () => {
      if ((await store.get({ key: "deaf" })) === undefined) return;
      stop();
      resolve();
    };
    const stop = store.onChange(() => void look());
    void look();
  });
  await ended(child.process, "SIGKILL");

  const before = await store.get({ key: "deaf" });
  const [answer] = await store.put([dueAt(7, { key: "deaf" })]);
  assert.deepEqual(answer, { put: "existing", id: before?.id, dueMs: before?.dueMs });
});

test(
  "what a dead process held is given back at once, after its orphans are ended; what a living one holds is not (A9)",
  HANG,
  async () => {
    const store = await open();
    await store.put([dueAt(1), dueAt(2)]);
    const child = start("own");
    const { claimed, orphan } = (await said(child)) as { claimed: string[]; orphan: number };
    assert.equal(claimed.length, 2);
    orphans.push(identify(orphan) as ProcessIdentity);

    assert.deepEqual(await swept(store, 10), []);
    assert.notEqual(identify(orphan), undefined);
    assert.deepEqual((await store.claimDue(ALICE, 10, 1_000)).claims, []);

    await ended(child.process, "SIGKILL");
    assert.notEqual(identify(orphan), undefined, "nobody else has ended the orphan");
    const given = await swept(store, 10);

    assert.deepEqual(
      given.map(({ state, callback }) => [state, callback.id]),
      claimed.map((id) => ["waiting", id]),
    );
    assert.equal(identify(orphan), undefined);
    assert.deepEqual(await swept(store, 10), []);
    const first = await claimOne(store);
    assert.deepEqual([first.callback.id, first.attempt], [claimed[0], 2]);
    assert.equal((await store.settle(first, ok)).state, "succeeded");
  },
);

test("the queue of a process that died is left to it no more; of one that lives it is", HANG, async () => {
  const mail = { id: "mail", queues: ["mail"] };
  const store = await open();
  await store.put([dueAt(1, { queue: "bill" })]);
  await store.enlist(mail, []);
  const child = start("serve", { queues: ["bill"] });
  assert.equal(await said(child), "serves");
  await swept(store, 10, mail);
  assert.equal((await store.upcoming(mail)).dueMs, undefined);

  await ended(child.process, "SIGKILL");
  // Nothing is held: it is looked for all the same, because of the queues.
  await swept(store, 10, mail);

  const { claims } = await store.claimDue(mail, 10, HOUR_MS);
  assert.deepEqual(
    claims.map(({ callback }) => callback.queue),
    ["bill"],
  );
});

test(
  "four processes advance one recurrence: each occurrence is there once, and one of them put it (A12)",
  HANG,
  async () => {
    const store = await open();
    const from = Math.ceil(Date.now() / 1_000) * 1_000 + HOUR_MS;
    const told = await Promise.all(Array.from({ length: 4 }, () => allSaid(start("recur", { from, count: 100 }))));
    const ids = new Set(told.flat().flatMap(({ id }) => (id === undefined ? [] : [id])));
    assert.equal(ids.size, 1);
    const changed = told.flat().filter(({ answer }) => answer === "changed");
    const expected = Array.from({ length: 100 }, (_, i) => from + i * 1_000);
    assert.deepEqual(changed.map(({ next }) => next).sort(), expected);
    const { callbacks } = await store.list({ recurrence: [...ids].join(), limit: 1_000 });
    assert.deepEqual(
      callbacks.map(({ occurrence }) => occurrence?.nominalMs),
      [...expected, from + 100_000],
    );
  },
);

test("a commit of another process is noticed, also after the log was removed and made again", HANG, async () => {
  const store = await open();
  let notices = 0;
  let onNotice: () => void = () => undefined;
  const stop = store.onChange(() => {
    notices += 1;
    onNotice();
  });
  for (let round = 0; round < 3; round++) {
    const noticed = new Promise<void>((resolve) => {
      onNotice = resolve;
    });
    const child = start("write", { from: round, count: 1, keys: 10 });
    await noticed;
    await allSaid(child);
    // Closed here and there, the log goes; whoever opens the file next makes another.
    await ended(child.process);
    if (round === 1) {
      const other = await openSqliteSchedule(path, { namespace: "other" });
      await other.close();
    }
  }
  stop();
  assert.ok(notices >= 3);
  assert.deepEqual(await store.counts(), { scheduled: 3 });
});

test("our own commits are no news", HANG, async () => {
  const store = await open();
  let notices = 0;
  store.onChange(() => {
    notices += 1;
  });
  for (let i = 0; i < 50; i++) await store.put([dueAt(i)]);
  assert.equal(notices, 0);
});

test("process.exit loses nothing of what was asked before", HANG, async () => {
  const child = start("leave");
  await ended(child.process);
  assert.equal(child.process.exitCode, 0);
  const store = await open();
  assert.deepEqual(await store.counts(), { scheduled: 50 });
});

test("an open file, though somebody listens, keeps no finished process alive", HANG, async () => {
  const child = start("idle");
  assert.equal(await said(child), "done");
  await ended(child.process);
  assert.equal(child.process.exitCode, 0);
});
