import assert from "node:assert/strict";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { ChangeWatch } from "../../../src/sqlite/watch.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";
import { atEnd } from "../../support/cleanup.ts";
import { tempDir } from "../../support/temp.ts";

test("a commit that follows the last write by half a second is seen as soon as any other", async (t) => {
  const path = join(await tempDir(t), "watched.db");
  const clock = new FakeClock();
  let version = 1;
  let looked = () => {};
  const look = () => new Promise<void>((resolve) => (looked = resolve));
  let told = 0;
  const watch = new ChangeWatch(
    path,
    () => {
      looked();
      return version;
    },
    () => {
      told += 1;
    },
    (note) => assert.fail(note),
    clock,
  );
  atEnd(t, () => watch.stop());
  watch.start();
  let seen = look();
  await appendFile(`${path}-wal`, "x");
  await seen;
  // The looks after that write: 2, 4 … 64 ms; the next is 128 ms away.
  await clock.advance(126);

  // The event comes with the write, and the commit can be seen a moment later.
  seen = look();
  await appendFile(`${path}-wal`, "y");
  await seen;
  version = 2;
  await clock.advance(2);

  assert.equal(told, 1);
});
