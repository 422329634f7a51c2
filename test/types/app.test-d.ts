/** Types of tasks run through to `delay`, `applyAsync`, `callAfter` and `get`. Compiled by `npm test`; never run. */
import {
  type AsyncResult,
  type CallbackHandle,
  type CancelCounts,
  Lovage,
  type PreviewTime,
  type Recurrence,
  type RecurrenceHandle,
  type Signature,
} from "lovage";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_T extends true>(): void {}

const app = new Lovage("types");
const add = app.task("types.add", (a: number, b: number) => a + b);
const remind = app.task(
  "types.remind",
  { maxRetries: 5, params: ["order", "channel"] },
  async (order: string, channel?: "mail" | "sms") => ({
    order,
    channel,
  }),
);
const repeat = app.task("types.repeat", (word: string, times = 1) => word.repeat(times));
const none = app.task("types.none", () => undefined);

async function results(): Promise<void> {
  const sum = await add.delay(1, 2);
  holds<Equal<typeof sum, AsyncResult<number>>>();
  const value = await sum.get({ timeout: "10s" });
  holds<Equal<typeof value, number>>();

  const sent = await (await remind.applyAsync(["42"], { countdown: 5 })).get();
  holds<Equal<typeof sent, { order: string; channel: "mail" | "sms" | undefined }>>();

  const callback = await remind.callAfter("3d", ["42", "mail"], { key: "k" });
  holds<Equal<typeof callback, CallbackHandle<{ order: string; channel: "mail" | "sms" | undefined }>>>();
  const word = await callback.cancel();
  holds<Equal<typeof word, "cancelled" | "stopped" | "running" | "finished" | "unknown">>();

  holds<Equal<ReturnType<typeof add.s>, Signature<number>>>();
  await none.delay();
  await repeat.delay("a");
  await repeat.delay("a", 2);
  await app.schedule.callAt(new Date(), app.signature("other.task", { args: [1] }));
}

/** How calls are sent, and what queues and routes there are. */
async function routing(): Promise<void> {
  await add.applyAsync([1, 2], {
    queue: "q",
    exchange: "e",
    exchangeType: "topic",
    routingKey: "k",
    priority: 3,
    deliveryMode: "transient",
    replyTo: "r",
    rootId: "root",
    parentId: "parent",
    retry: true,
    retryPolicy: { maxRetries: null, intervalStart: 0, intervalStep: 0.2, intervalMax: 1 },
    expires: "2h",
  });
  // @ts-expect-error an option is misspelt
  await add.applyAsync([1, 2], { routingkey: "k" });
  // @ts-expect-error it is 1 or 2
  await add.applyAsync([1, 2], { deliveryMode: 3 });

  new Lovage("routed", {
    taskQueues: [
      "mail",
      { name: "media", exchange: { name: "media", type: "topic" }, routingKey: "media.#", maxPriority: 10 },
    ],
    taskRoutes: [
      { "feed.*": "feeds", "video.cut": { queue: "media", routing_key: "media.video" } },
      [/^image\./, { queue: "media", priority: 5 }],
      (task, args, kwargs, options) =>
        task === "x" && args.length > 0 && kwargs.a === 1 && options.priority ? "x" : undefined,
    ],
    taskPublishRetryPolicy: { max_retries: 3 },
    taskAnnotations: { "*": { rate_limit: "10/s" } },
    task_default_queue: "celery",
  });
  new Lovage("by name", { taskQueues: { media: { exchange: "media", exchange_type: "topic" } } });
  // @ts-expect-error a route names a queue by text
  new Lovage("wrong", { taskRoutes: { a: 5 } });
  app.task("types.routed", { queue: "q", exchange: "e", routingKey: "k", deliveryMode: 1 }, () => undefined);
}

async function recurring(): Promise<void> {
  const daily = await remind.callRepeatedly({ cron: "0 9 * * *", timezone: "Europe/Berlin" }, ["42", "mail"], {
    key: "daily",
    onConflict: "keep",
    misfire: { all: 5 },
    overlap: "queue",
    jitter: "30s",
    startAt: new Date(),
    until: "2030-01-01T00:00:00Z",
    expires: 60,
    tags: ["customer:7"],
    queue: "mail",
    priority: 3,
    onLost: "fail",
  });
  holds<Equal<typeof daily, RecurrenceHandle>>();
  holds<Equal<typeof daily.next, Date | undefined>>();
  holds<Equal<Awaited<ReturnType<typeof daily.pause>>, boolean>>();
  holds<Equal<Awaited<ReturnType<typeof daily.resume>>, Date | undefined>>();
  holds<Equal<Awaited<ReturnType<typeof daily.get>>, Recurrence | undefined>>();
  holds<Equal<Awaited<ReturnType<typeof daily.preview>>, PreviewTime[]>>();
  await none.callRepeatedly({ every: "10m" }, []);
  await repeat.callRepeatedly({ every: 600, startAt: new Date() }, ["a"]);
  await app.schedule.callRepeatedly({ every: 600 }, app.signature("other.task"), {
    misfire: "skip",
    misfireGrace: "1m",
  });
  await app.schedule.preview({ cron: "0 9 * * *" }, { count: 3 });
  await app.schedule.preview("daily");

  const counts = await app.schedule.cancelAll({ tags: ["customer:7"], dueBefore: new Date() }, { dryRun: true });
  holds<Equal<typeof counts, CancelCounts>>();
  const page = await app.schedule.listPage({ recurrence: daily.id, limit: 10 });
  holds<Equal<typeof page.next, string | undefined>>();
  const off = app.schedule.events.on("started", ({ id, task, lateMs, key }) => [id, task, lateMs, key]);
  holds<Equal<typeof off, () => void>>();
  app.schedule.events.on("scheduled", (event) => {
    if (event.change === "moved") return event.dueMs;
    return event.task;
  });
}

async function refused(): Promise<void> {
  // @ts-expect-error the second argument is missing
  await add.delay(1);
  // @ts-expect-error a text is no number
  await add.delay(1, "2");
  // @ts-expect-error the default value says that it is a number
  await repeat.delay("a", "2");
  // @ts-expect-error no third argument
  await add.applyAsync([1, 2, 3]);
  // @ts-expect-error "fax" is no channel
  await remind.callAfter(1, ["42", "fax"]);
  // @ts-expect-error "delay" is no option: it means "send now"
  await add.applyAsync([1, 2], { delay: 5 });
  // @ts-expect-error there is no such policy
  await remind.callAfter(1, ["42"], { onConflict: "overwrite" });
  // @ts-expect-error the second argument is missing
  await add.callRepeatedly({ every: 5 }, [1]);
  // @ts-expect-error "fax" is no channel
  await remind.callRepeatedly({ every: 5 }, ["42", "fax"]);
  // @ts-expect-error neither of them
  await none.callRepeatedly({ timezone: "UTC" }, []);
  // @ts-expect-error the zone stands beside the pattern
  await none.callRepeatedly({ cron: "0 9 * * *" }, [], { timezone: "Europe/Berlin" });
  // @ts-expect-error there is no such policy
  await none.callRepeatedly({ every: 5 }, [], { misfire: "fire" });
  // @ts-expect-error expires of what recurs is a duration
  await none.callRepeatedly({ every: 5 }, [], { expires: new Date() });
  // @ts-expect-error there is no filter "tag"
  await app.schedule.cancelAll({ tag: "customer:7" });
  // @ts-expect-error a filter that was to come from somewhere
  await app.schedule.cancelAll({ tags: undefined });
  // @ts-expect-error one way to go, not none
  await app.schedule.reschedule("k", {});
  // @ts-expect-error there is no such event
  app.schedule.events.on("ended", () => undefined);
  // @ts-expect-error what was moved has no task here
  app.schedule.events.on("scheduled", ({ task }) => task);
  // @ts-expect-error no such setting
  new Lovage("x", { brokr: "memory://" });
  // @ts-expect-error an object is no handler
  app.task("x", { run: () => 1 });
  // @ts-expect-error no such task option
  app.task("x", { maxRetry: 1 }, () => 1);
}

void results;
void routing;
void recurring;
void refused;
