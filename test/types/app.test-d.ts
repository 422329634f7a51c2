/** Types of tasks run through to `delay`, `applyAsync`, `callAfter` and `get`. Compiled by `npm test`; never run. */
import { type AsyncResult, type CallbackHandle, Lovage, type Signature } from "lovage";

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
  // @ts-expect-error no such setting
  new Lovage("x", { brokr: "memory://" });
  // @ts-expect-error an object is no handler
  app.task("x", { run: () => 1 });
  // @ts-expect-error no such task option
  app.task("x", { maxRetry: 1 }, () => 1);
}

void results;
void refused;
