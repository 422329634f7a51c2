import assert from "node:assert/strict";
import { test } from "node:test";
import { hasWalResetBug, loadSqlite } from "../../../src/sqlite/engine.ts";

test("the releases with the WAL-reset bug are known", () => {
  for (const bad of ["3.7.0", "3.44.5", "3.45.3", "3.50.2", "3.50.6", "3.51.0", "3.51.2"])
    assert.ok(hasWalResetBug(bad), bad);
  for (const good of ["3.44.6", "3.50.7", "3.51.3", "3.52.0", "3.53.4", "4.0.0"])
    assert.ok(!hasWalResetBug(good), good);
});

test("SQLite is loaded without a warning", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on("warning", note);
  const { DatabaseSync } = loadSqlite();
  new DatabaseSync(":memory:").close();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", note);
  assert.deepEqual(warnings, []);
});
