import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { systemClock } from "../../../src/kit/clock.ts";
import { openSqliteFile } from "../../../src/sqlite/file.ts";
import {
  aliveOwner,
  enlistOwner,
  type OwnerRow,
  ownersTables,
  resignOwner,
  sweepOwners,
} from "../../../src/sqlite/owners.ts";
import { identify } from "../../../src/sqlite/process-identity.ts";

const HANG = { timeout: 60_000 };
const folder = await mkdtemp(join(tmpdir(), "lovage-owners-"));
const file = await openSqliteFile(join(folder, "a.db"), { tables: [ownersTables], durability: "process" });
const owners = file.use(ownersTables);

after(async () => {
  await file.close();
  await rm(folder, { recursive: true, force: true });
});

async function row(name: string): Promise<OwnerRow | undefined> {
  return (await owners.call("list", null)).find((each) => each.name === name);
}

test("an owner is known by its process and its children, who may change", HANG, async () => {
  const child = spawn("sleep", ["60"]);
  try {
    await enlistOwner(file, "one", []);
    const first = await row("one");
    await enlistOwner(file, "one", [child.pid as number, process.pid, 2 ** 22 + 1]);
    const second = (await row("one")) as OwnerRow;
    assert.equal(second.n, first?.n);
    assert.deepEqual(
      second.children.map(([pid]) => pid),
      [child.pid],
      "itself, and who is not there, are no children",
    );
    assert.equal(aliveOwner(second), "alive");
    assert.equal(await sweepOwners(file, systemClock), 0);
    assert.notEqual(identify(child.pid as number), undefined, "the children of the living are left alone");
  } finally {
    child.kill("SIGKILL");
  }
});

test("an owner that resigned is listed no more, and is back when it enlists", HANG, async () => {
  await enlistOwner(file, "two", []);
  const before = await row("two");
  await resignOwner(file, "two");
  await resignOwner(file, "two");
  assert.equal(await row("two"), undefined);
  await resignOwner(file, "nobody");
  await enlistOwner(file, "two", []);
  assert.equal((await row("two"))?.n, before?.n);
});

test("the children of a dead owner are ended before it is buried", HANG, async () => {
  const orphan = spawn("sleep", ["60"]);
  const exit = once(orphan, "exit");
  const { pid, started } = identify(orphan.pid as number) as { pid: number; started: string };
  const self = identify(process.pid) as { boot: string };
  await owners.call("enlist", {
    name: "dead",
    pid: process.pid,
    started: "1",
    boot: self.boot,
    children: [[pid, started]],
  });
  assert.equal(aliveOwner((await row("dead")) as OwnerRow), "dead");

  assert.equal(await sweepOwners(file, systemClock), 1);

  assert.deepEqual(await exit, [null, "SIGKILL"]);
  assert.equal(await row("dead"), undefined);
  assert.equal(await sweepOwners(file, systemClock), 0);
});

test("an owner in another container is left to its lease, and so are its children", HANG, async () => {
  const [boot] = (identify(process.pid) as { boot: string }).boot.split(" ");
  const children = [[process.pid, "1"]] as const;
  await owners.call("enlist", { name: "far", pid: process.pid, started: "1", boot: `${boot} pid:[1]`, children });
  assert.equal(aliveOwner((await row("far")) as OwnerRow), "unknown");
  assert.equal(await sweepOwners(file, systemClock), 0);
  assert.notEqual(await row("far"), undefined);
});

test("burying a row that was enlisted anew meanwhile does nothing", HANG, async () => {
  await enlistOwner(file, "three", []);
  const stale = { ...((await row("three")) as OwnerRow), started: "1" };
  assert.equal(await owners.call("bury", stale), 0);
  assert.notEqual(await row("three"), undefined);
});

test("the rows of those long dead are removed", HANG, async () => {
  await enlistOwner(file, "old", []);
  await resignOwner(file, "old");
  const removed = await owners.call("forget", { beforeMs: Date.now() + 1, limit: 100 });
  assert.ok(removed >= 1);
  assert.equal(await owners.call("forget", { beforeMs: Date.now() + 1, limit: 100 }), 0);
});
