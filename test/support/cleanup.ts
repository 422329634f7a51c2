/**
 * What a test must undo, undone in the reverse order: a process is ended before the folder that it writes to is
 * removed. (`t.after` of node:test runs its hooks in the order they were given.)
 */
import type { TestContext } from "node:test";

type Undo = () => void | Promise<void>;
const undos = new WeakMap<TestContext, Undo[]>();

/** Every one runs, also after one that failed; their errors fail the test. */
export function atEnd(t: TestContext, undo: Undo): void {
  const mine = undos.get(t);
  if (mine !== undefined) {
    mine.push(undo);
    return;
  }
  const list = [undo];
  undos.set(t, list);
  t.after(async () => {
    const errors: unknown[] = [];
    for (let next = list.pop(); next !== undefined; next = list.pop()) {
      try {
        await next();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, "several clean-ups failed");
  });
}
