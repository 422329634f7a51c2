/**
 * Loaded into every test file's process before the file. A file whose tests are done must end: one that still holds
 * a timer, a socket or a process would hang the run without a word. Ten seconds later it says what keeps it, and fails.
 *
 * The timer does not keep the process alive itself. Pool children forked by a test inherit this import and have no
 * test file as their program, so it leaves them alone.
 */
import { after } from "node:test";

const GRACE_MS = 10_000;

if (process.env.NODE_TEST_CONTEXT !== undefined && process.argv[1]?.endsWith(".test.ts") === true) {
  after(() => {
    setTimeout(() => {
      console.error(
        `${process.argv[1]}: its tests are done, but it does not end: ${process.getActiveResourcesInfo().join(", ")}`,
      );
      process.exit(1);
    }, GRACE_MS).unref();
  });
}
