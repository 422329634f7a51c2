/** An app whose tasks use the schedule from inside their sub-process, in every way that there is. */
import { Lovage, LovageError } from "lovage";

export const app = new Lovage("schedule-tasks");

const later = app.task("in-task.later", (n: number) => n);
// This file is loaded by the worker and by its children; the worker makes the changes, so they are told there.
app.schedule.events.on("scheduled", ({ id }) => console.log(`scheduled ${id}, told in ${process.pid}`));
app.schedule.events.on("cancelled", ({ id }) => console.log(`cancelled ${id}, told in ${process.pid}`));

/** Far away: nothing of it comes due while a test runs. */
const NEW_YEAR = { cron: "0 0 1 1 *", timezone: "Europe/Berlin", startAt: "2098-06-01T00:00:00Z" } as const;

app.task("in-task.recurs", async () => {
  const handle = await later.callRepeatedly(NEW_YEAR, [1], { key: "new-year", tags: ["yearly"] });
  const again = await later.callRepeatedly(NEW_YEAR, [1], { key: "new-year", tags: ["yearly"] });
  const waiting = await app.schedule.listPage({ recurrence: "new-year", limit: 1 });
  const paused = await handle.pause();
  const resumed = await app.schedule.resume("new-year");
  const preview = await handle.preview(1);
  const listed: (string | undefined)[] = [];
  for await (const { key } of app.schedule.recurrences()) listed.push(key);
  const record = await handle.get();
  return {
    pid: process.pid,
    puts: [handle.put, again.put],
    next: handle.next?.toISOString(),
    waiting: waiting.callbacks.length,
    // A recurrence's calls are nobody's children, also when a task declared it.
    parents: [waiting.callbacks[0]?.message.parentId ?? null, waiting.callbacks[0]?.message.rootId ?? null],
    paused,
    resumed: resumed?.toISOString(),
    preview: preview.map(({ text }) => text),
    listed,
    state: record?.state,
    cancelled: await app.schedule.cancel("new-year"),
  };
});

app.task("in-task.many", async () => {
  for (let n = 0; n < 3; n++) await later.callAfter("1h", [n], { tags: ["many"] });
  const dry = await app.schedule.cancelAll({ tags: ["many"] }, { dryRun: true });
  const counts = await app.schedule.counts();
  const done = await app.schedule.cancelAll({ tags: ["many"] });
  const ids = [];
  for await (const { id } of app.schedule.list({ tags: ["many"], states: ["cancelled"] })) ids.push(id);
  return { pid: process.pid, dry: dry.cancelled, scheduled: counts.scheduled, done: done.cancelled, ids };
});

/** Adds until it is refused; answers how it was. */
app.task("in-task.too-many", async () => {
  for (let added = 0; ; added++) {
    try {
      await later.callAfter("1h", [added]);
    } catch (error) {
      if (!(error instanceof LovageError)) throw error;
      return {
        added,
        code: error.code,
        name: error.name,
        message: error.message,
        limit: (error as { limit?: unknown }).limit,
      };
    }
  }
});
