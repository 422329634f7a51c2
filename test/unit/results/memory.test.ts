import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import type { ResultDocument } from "../../../src/protocol/result.ts";
import { openMemoryResults } from "../../../src/results/memory.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

const document = (task_id: string, result = "1"): ResultDocument => ({
  task_id,
  status: "SUCCESS",
  result,
  traceback: null,
  children: null,
  date_done: null,
});

test("result backends of one URL share their documents, those of another do not", async () => {
  const url = `memory://${randomUUID()}`;
  const [one, two, other] = await Promise.all([url, url, `${url}-other`].map((each) => openMemoryResults(each)));
  assert.ok(one && two && other);

  await one.store(document("a"), 60_000);

  assert.deepEqual(await two.get("a"), document("a"));
  assert.equal(await other.get("a"), undefined);
  assert.equal(one.url, url);
  await Promise.all([one, two, other].map((each) => each.close()));
});

test("what is kept is kept for whoever opens the URL next; when all has expired the name is free again", async () => {
  const url = `memory://${randomUUID()}`;
  const clock = new FakeClock();
  const first = await openMemoryResults(url, { clock });
  await first.store(document("a"), 1_000);
  await first.close();
  await first.close();

  const second = await openMemoryResults(url, { clock });
  assert.deepEqual(await second.get("a"), document("a"));
  await clock.advance(1_000);
  await second.close();

  // Of the new name's clock, which is behind: what was kept would be there again.
  const third = await openMemoryResults(url, { clock: new FakeClock() });
  assert.equal(await third.get("a"), undefined);
  await third.close();
});

test("every form of the URL with the same name is the same", async () => {
  const name = randomUUID();
  const [one, two] = [await openMemoryResults(`memory://${name}`), await openMemoryResults(`memory:${name}`)];
  await one.store(document("a"), 0);
  assert.deepEqual(await two.get("a"), document("a"));
  await two.forget("a");
  await one.close();
  await two.close();
});

test("a URL that is not the memory backend's is refused by name", async () => {
  for (const url of ["redis://localhost", "memory://x?y", "memoryx", ""]) {
    await assert.rejects(openMemoryResults(url), { code: "ERR_INVALID_INPUT", message: /memory:\/\/name/ });
  }
});
