/** Types of results: what a task returns runs through handles, sets and updates. Compiled by `npm test`; never run. */
import {
  type AnyResult,
  type AsyncResult,
  Lovage,
  type ResultMeta,
  type ResultSet,
  type TaskError,
  type TaskRevokedError,
} from "lovage";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function holds<_T extends true>(): void {}

const app = new Lovage("types");
const add = app.task("types.add", (a: number, b: number) => a + b);

async function one(): Promise<void> {
  const result = await add.delay(1, 2);
  holds<Equal<Awaited<ReturnType<typeof result.get>>, number | TaskError | TaskRevokedError>>();
  const value = await result.get();
  holds<Equal<typeof value, number>>();
  const timed = await result.get({ timeout: "10s", signal: AbortSignal.timeout(1), onMessage: ({ state }) => state });
  holds<Equal<typeof timed, number>>();
  const either = await result.get({ propagate: false });
  holds<Equal<typeof either, number | TaskError | TaskRevokedError>>();
  const meta = await result.meta();
  holds<Equal<typeof meta, ResultMeta | undefined>>();
  const children = await result.children();
  holds<Equal<typeof children, AnyResult[]>>();

  for await (const update of result.updates<{ done: number }>({ timeout: 5 })) {
    if (!update.ready) holds<Equal<typeof update.meta, { done: number }>>();
    else if (update.state === "SUCCESS") holds<Equal<typeof update.meta, number>>();
    else holds<Equal<typeof update.meta, TaskError | TaskRevokedError>>();
  }
}

async function many(): Promise<void> {
  const set = app.results([await add.delay(1, 2), await add.delay(3, 4)]);
  holds<Equal<typeof set, ResultSet<number>>>();
  const values = await set.get({ timeout: 5 });
  holds<Equal<typeof values, number[]>>();
  const either = await set.get({ propagate: false });
  holds<Equal<typeof either, (number | TaskError | TaskRevokedError)[]>>();
  for await (const { id, value } of app.results<string>(["a", "b"]).iterate()) {
    holds<Equal<typeof id, string>>();
    holds<Equal<typeof value, string | TaskError | TaskRevokedError>>();
  }
  const named = app.result<{ a: number }>("x");
  holds<Equal<typeof named, AsyncResult<{ a: number }>>>();
}

async function refused(): Promise<void> {
  const result = await add.delay(1, 2);
  // @ts-expect-error seconds or a text with a unit
  await result.get({ timeout: new Date() });
  // @ts-expect-error Celery's `interval` is for polling, and nothing is polled
  await result.get({ interval: 1 });
  // @ts-expect-error ids or results
  app.results([1, 2]);
}

void one;
void many;
void refused;
