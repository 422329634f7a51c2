import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { openSqliteFile, type SqliteFile, type SqliteFileOptions } from "../../../src/sqlite/file.ts";
import { ownersTables } from "../../../src/sqlite/owners.ts";
import { tables as broken } from "./broken-tables.ts";
import { tables as notes } from "./notes-tables.ts";

const HANG = { timeout: 60_000 };

let folder: string;
const files: SqliteFile[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lovage-file-"));
});

afterEach(async () => {
  await Promise.all(files.splice(0).map((file) => file.close()));
  await rm(folder, { recursive: true, force: true });
});

async function open(options: Partial<SqliteFileOptions> = {}, name = "a.db"): Promise<SqliteFile> {
  const file = await openSqliteFile(join(folder, name), { tables: [notes], durability: "process", ...options });
  files.push(file);
  return file;
}

test("calls are answered in the order they were made, and see what came before them", HANG, async () => {
  const { call } = (await open()).use(notes);
  const answers = await Promise.all([
    call("count", null),
    call("add", { n: 1, text: "a" }),
    call("count", null),
    call("add", { n: 2, text: "b" }),
    call("remove", 1),
    call("remove", 1),
    call("count", null),
  ]);
  assert.deepEqual(answers, [0, 1, 1, 2, 1, 0, 1]);
});

test("one that fails after it wrote leaves nothing, and harms nobody in its group", HANG, async () => {
  const { call } = (await open()).use(notes);
  const answers = await Promise.allSettled([
    call("add", { n: 1, text: "a" }),
    call("trip", 5),
    call("add", { n: 1, text: "taken" }),
    call("add", { n: 2, text: "b" }),
    call("count", null),
  ]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    ["fulfilled", "rejected", "rejected", "fulfilled", "fulfilled"],
  );
  const [, tripped, taken, , count] = answers;
  assert.ok(tripped?.status === "rejected" && taken?.status === "rejected" && count?.status === "fulfilled");
  assert.equal(tripped.reason.code, "ERR_STORE_OPERATION");
  assert.match(tripped.reason.message, /a\.db.*tripped/);
  assert.match(taken.reason.message, /UNIQUE/);
  assert.equal(count.value, 2);
});

test("many more than a group takes are all done", HANG, async () => {
  const { call } = (await open()).use(notes);
  const text = "x".repeat(200);
  const answers = await Promise.all(
    Array.from({ length: 9_000 }, (_, n) => call("add", { n, text }, { bytes: n % 1_000 === 0 ? 1_000_000 : 200 })),
  );
  assert.deepEqual(
    answers,
    Array.from({ length: 9_000 }, (_, n) => n),
  );
  assert.equal(await call("count", null), 9_000);
});

test("the clock is the machine's, or the one that the caller brings", HANG, async () => {
  const { call } = (await open()).use(notes);
  assert.equal(await call("now", null, { nowMs: -7 }), -7);
  assert.ok(Math.abs((await call("now", null)) - Date.now()) < 60_000);
});

test("a value that cannot be handed over fails its call, and the next one works", HANG, async () => {
  const { call } = (await open()).use(notes);
  const uncloneable = { n: 1, text: (() => "") as unknown as string };
  await assert.rejects(call("add", uncloneable), { code: "ERR_STORE_OPERATION", message: /could not be cloned/ });
  assert.equal(await call("add", { n: 1, text: "a" }), 1);
});

test("whoever opens the file in a process shares it; the last to close closes it", HANG, async () => {
  const [one, two] = await Promise.all([open(), open({ durability: "strict" })]);
  assert.deepEqual([one.durability, two.durability], ["strict", "strict"], "the strictest counts for all");
  await one.use(notes).call("add", { n: 1, text: "a" });
  assert.equal(await two.use(notes).call("count", null), 1);

  await one.close();
  await one.close();
  await assert.rejects(one.use(notes).call("count", null), { code: "ERR_CLOSED", message: /a\.db was closed/ });
  assert.equal(await two.use(notes).call("count", null), 1);
  const last = two.use(notes).call("add", { n: 2, text: "b" });
  await two.close();
  assert.equal(await last, 2, "what was asked before is done");

  const again = await open();
  assert.equal(again.durability, "process");
  assert.equal(await again.use(notes).call("count", null), 2);
});

test("a file that is being closed can be opened again at once", HANG, async () => {
  for (let round = 0; round < 5; round++) {
    const file = await openSqliteFile(join(folder, "a.db"), { tables: [notes], durability: "process" });
    const closing = file.close();
    const next = await open();
    await next.use(notes).call("add", { n: round, text: "a" });
    await closing;
  }
  assert.equal(await (await open()).use(notes).call("count", null), 5);
});

test("tables that it was not opened with, and operations that they have not, are named", HANG, async () => {
  const file = await open();
  assert.throws(() => file.use(ownersTables), { code: "ERR_INVALID_INPUT", message: /owners tables/ });
  await assert.rejects(file.use(notes).call("burn" as never, null as never), {
    code: "ERR_INVALID_INPUT",
    message: /burn/,
  });
  const more = await open({ tables: [ownersTables] });
  assert.deepEqual(await more.use(ownersTables).call("list", null), []);
});

test("tables whose schema fails are refused whole, and the file serves the others", HANG, async () => {
  const file = await open();
  await assert.rejects(open({ tables: [broken] }), { code: "ERR_STORE_OPERATION", message: /TABEL/ });
  await assert.rejects(open({ tables: [broken] }), { code: "ERR_STORE_OPERATION" }, "not half of it was kept");
  assert.equal(await file.use(notes).call("count", null), 0);
});

test("a thread that ends under a call leaves its outcome unknown, and the file can be opened again", HANG, async () => {
  const file = await open();
  const { call } = file.use(notes);
  await call("add", { n: 1, text: "a" });
  const calls = [call("die", null), call("add", { n: 2, text: "b" })];
  for (const each of calls) await assert.rejects(each, { code: "ERR_OUTCOME_UNKNOWN" });
  await assert.rejects(call("count", null), { code: "ERR_STORE_UNAVAILABLE", message: /a\.db.*open it again/ });
  await file.close();

  const again = await open();
  assert.equal(await again.use(notes).call("count", null), 1);
});

test("the log does not grow for ever", HANG, async () => {
  const file = await open();
  const { call } = file.use(notes);
  const text = "x".repeat(2_000);
  for (let round = 0; round < 30; round++) {
    await Promise.all(
      Array.from({ length: 1_000 }, (_, i) => call("add", { n: round * 1_000 + i, text }, { bytes: 2_000 })),
    );
  }
  assert.ok((await stat(join(folder, "a.db"))).size > 50_000_000);
  assert.ok((await stat(join(folder, "a.db-wal"))).size < 40_000_000);
});

test("two files of one process are two files", HANG, async () => {
  const [one, two] = await Promise.all([open(), open({}, "b.db")]);
  await one.use(notes).call("add", { n: 1, text: "a" });
  assert.equal(await two.use(notes).call("count", null), 0);
});
