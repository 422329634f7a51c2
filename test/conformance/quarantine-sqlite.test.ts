import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openSqliteQuarantine } from "../../src/quarantine/sqlite.ts";
import { quarantineConformance } from "../../src/testing/quarantine-conformance.ts";
import { tempDir } from "../support/temp.ts";

quarantineConformance("sqlite", async (options) => {
  const folder = await mkdtemp(join(tmpdir(), "lovage-"));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const quarantine = await openSqliteQuarantine(join(folder, "q.db"), { ...options, durability: "process" });
    const close = async () => {
      await quarantine.close();
      await remove();
    };
    return { quarantine, close };
  } catch (thrown) {
    await remove();
    throw thrown;
  }
});

const refused = (reason: string, body = Buffer.from("x")) => ({
  code: "ERR_PROTO",
  reason,
  queue: "q",
  properties: {},
  headers: {},
  body,
});

test("what is in quarantine is there when the file is opened again, and no id is used twice", async (t) => {
  const path = join(await tempDir(t), "q.db");
  const first = await openSqliteQuarantine(path);
  const ids = [await first.add(refused("one")), await first.add(refused("two"))];
  await first.drop(ids[1] ?? "");
  await first.close();

  const second = await openSqliteQuarantine(path);
  ids.push(await second.add(refused("three")));

  assert.equal(await second.count(), 2);
  assert.equal((await second.get(ids[0] ?? ""))?.reason, "one");
  assert.equal(new Set(ids).size, 3);
  assert.deepEqual(ids, ids.toSorted());
  await second.close();
});

test("what made room is counted over all openings of the file, also when the limits were lowered", async (t) => {
  const path = join(await tempDir(t), "q.db");
  const warnings: string[] = [];
  const log = { warn: (message: string) => void warnings.push(message) };
  const first = await openSqliteQuarantine(path, { log, durability: "process" });
  await Promise.all(Array.from({ length: 250 }, (_, i) => first.add(refused(String(i)))));
  await first.close();
  assert.deepEqual(warnings, []);

  const second = await openSqliteQuarantine(path, { log, limits: { maxRecords: 10 }, durability: "process" });
  // A new record pushes out a hundred at most, so that it never waits for long.
  for (let i = 0; i < 4; i++) await second.add(refused("new"));

  assert.equal(await second.count(), 10);
  assert.match(warnings.at(-1) ?? "", /1 record .* now and 244 records .* so far/);
  await second.close();
});

test("two handles of a file keep into one quarantine", async (t) => {
  const path = join(await tempDir(t), "q.db");
  const [one, two] = [await openSqliteQuarantine(path), await openSqliteQuarantine(path)];

  const ids = await Promise.all([one, two, one, two].map((each, i) => each.add(refused(String(i)))));

  assert.equal(new Set(ids).size, 4);
  assert.equal(await one.count(), 4);
  await one.close();
  assert.equal((await two.list({ limit: 10 })).length, 4);
  await two.close();
});

test("a page of large bodies comes in one list, whole", async (t) => {
  const path = join(await tempDir(t), "q.db");
  const quarantine = await openSqliteQuarantine(path, { durability: "process" });
  for (let i = 0; i < 12; i++) await quarantine.add(refused(String(i), Buffer.alloc(1024 * 1024, String(i % 10))));

  const page = await quarantine.list({ limit: 11 });

  assert.deepEqual(
    page.map(({ reason }) => reason),
    Array.from({ length: 11 }, (_, i) => String(11 - i)),
  );
  for (const { reason, body } of page) {
    assert.ok(Buffer.alloc(1024 * 1024, String(Number(reason) % 10)).equals(body));
  }
  await quarantine.close();
});
