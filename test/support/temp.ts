/** A folder of a test's own, removed at its end. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { atEnd } from "./cleanup.ts";

export async function tempDir(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lovage-"));
  // maxRetries: a process that was killed may still have been creating a file.
  atEnd(t, () => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
