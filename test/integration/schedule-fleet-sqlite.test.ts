/** Two real workers on one schedule in a file; what else a fleet does there is in test/interop and sqlite-processes.test.ts. */
import { join } from "node:path";
import { test } from "node:test";
import { tempDir } from "../support/temp.ts";
import { recursOnce } from "./schedule-fleet-suite.ts";

test("a recurrence that each process declares runs once at each of its times, from one file", async (t) => {
  await recursOnce(t, { url: `sqlite:${join(await tempDir(t), "schedule.db")}` });
});
