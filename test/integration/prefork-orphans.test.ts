/** Pool processes do not outlive their worker, however it ends. (FAULTS F-05) */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isAlive } from "../support/alive.ts";
import { type Program, startNode } from "../support/processes.ts";

const PARENT = join(import.meta.dirname, "../support/apps/pool-parent.ts");
const HANG = { timeout: 60_000 };

async function startParent(t: TestContext, how: string, task: string): Promise<{ parent: Program; pids: number[] }> {
  const parent = startNode(t, PARENT, { args: [how, task] });
  const [, list = ""] = await parent.waitForLine(/^pids (.*)$/);
  const pids = list.split(" ").map(Number);
  assert.equal(pids.length, 2);
  return { parent, pids };
}

/** There is no event for the end of somebody else's process. */
async function allEnded(pids: readonly number[]): Promise<void> {
  while (pids.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 10));
}

test("children whose worker is killed end by themselves, with a handler running too", HANG, async (t) => {
  const { parent, pids } = await startParent(t, "wait", "pool.stubborn");
  process.kill(parent.pid, "SIGKILL");
  await allEnded(pids);
});

test("a worker that calls process.exit takes along children that loop", HANG, async (t) => {
  const { parent, pids } = await startParent(t, "exit", "fault.busy");
  assert.deepEqual(await parent.ended, { status: 3, signal: null });
  await allEnded(pids);
});

test("a worker that dies of its own error takes along children that loop", HANG, async (t) => {
  const { parent, pids } = await startParent(t, "throw", "fault.busy");
  assert.notEqual((await parent.ended).status, 0);
  await allEnded(pids);
});
