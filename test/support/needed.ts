/**
 * Servers and tools that tests need. One that is missing skips the test on a laptop, visibly and saying what to
 * install, and fails it in CI: there a skipped test would be a test that nobody runs.
 */
import { inCi } from "../../scripts/services/service.ts";

export interface Needed {
  /** For the `skip` option of a test: false when the server is there, else why the test is skipped. */
  readonly skip: string | false;
}

/** The answer for something that is missing. @throws in CI */
export function skipOrFail(why: string): Needed {
  if (inCi()) throw new Error(why);
  return { skip: why };
}
