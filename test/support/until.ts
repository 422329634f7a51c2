/** Waiting for what other processes do. */
import { setTimeout as sleep } from "node:timers/promises";

const UNTIL_MS = 100_000;

/** Resolves when it holds: looked at again and again. A net under the test's own limit, after which nobody would end the process. */
export async function until(holds: () => boolean | Promise<boolean>, limitMs = UNTIL_MS): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`it did not come to hold within ${limitMs} ms: ${holds}`);
    await sleep(10);
  }
}
