/** Python clients read what a Lovage worker stores or sends, as what their own worker would have. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { atEnd } from "../support/cleanup.ts";
import { startWorker } from "../support/processes.ts";
import { needCelery, runPython } from "../support/python.ts";
import { deleteQueues } from "../support/rabbitmq.ts";
import { needRedisServer, rawClient, startRedis } from "../support/redis.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";
import { tempDir } from "../support/temp.ts";

const skip = (await needRabbitmq()).skip || (await needCelery()).skip || needRedisServer().skip;
const HANG = { timeout: 120_000 };

const CLIENT = `
import datetime, json, sys, types
from celery import Celery

errors = types.ModuleType("interop_errors")
class CardDeclined(Exception): pass
class Outer(Exception):
    class Inner(Exception): pass
errors.CardDeclined, errors.Outer = CardDeclined, Outer
for each in (CardDeclined, Outer, Outer.Inner):
    each.__module__ = "interop_errors"
sys.modules["interop_errors"] = errors

order = json.load(sys.stdin)
app = Celery("client", broker=order["broker"], backend=order["backend"], set_as_current=False)
app.conf.result_expires = 3600

# Whoever waits hears of all.
states = {}
def heard(meta):
    meta = getattr(meta, "payload", meta)
    shown = repr(meta["result"]) if meta["status"] not in ("RETRY", "STARTED") else None
    states.setdefault(meta["task_id"], []).append([meta["status"], shown])

def report(send, result):
    out = {"id": result.id}
    try:
        out["value"] = repr(result.get(timeout=60, on_message=heard))
    except Exception as error:
        out["raises"] = [type(error).__module__, type(error).__qualname__, repr(error.args)]
        out["bases"] = [each.__name__ for each in type(error).__mro__]
    out["state"] = result.state
    out["traceback"] = result.traceback
    out["done"] = type(result.date_done).__name__
    out["extended"] = repr([result.name, result.args, result.kwargs, result.retries, result.queue])
    out["children"] = [[each.id, repr(each.get(timeout=60))] for each in result.children or []] if order["kept"] else None
    if send.get("forget"):
        result.forget()
        out["forgotten"] = app.AsyncResult(result.id).state
    return out

sent = []
for send in order["sends"]:
    options = {}
    if "expiresIn" in send:
        options["expires"] = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=send["expiresIn"])
    with app.producer_or_acquire() as producer:
        publish = producer.publish
        def without_expiration(*args, **kwargs):
            kwargs["expiration"] = None
            return publish(*args, **kwargs)
        if "expiresIn" in send:
            producer.publish = without_expiration
        try:
            sent.append(app.send_task(send["task"], send.get("args", []), queue=order["queue"], producer=producer, **options))
        finally:
            producer.publish = publish
reports = [report(send, result) for send, result in zip(order["sends"], sent)]
print(json.dumps([dict(each, states=states.get(each["id"], [])) for each in reports]))
`;

interface Send {
  readonly task: string;
  readonly args?: readonly unknown[];
  readonly expiresIn?: number;
  readonly forget?: boolean;
}

interface Report {
  readonly id: string;
  readonly states: readonly (readonly [string, string | null])[];
  readonly value?: string;
  readonly raises?: readonly [string, string, string];
  readonly bases?: readonly string[];
  readonly state: string;
  readonly traceback: string | null;
  readonly done: string;
  readonly extended: string;
  readonly children: readonly (readonly [string, string])[] | null;
  readonly forgotten?: string;
}

async function world(t: TestContext, broker: string, backend: string) {
  const folder = await tempDir(t);
  const queue = `lovage-test-${randomUUID()}`;
  if (broker === AMQP_URL) atEnd(t, () => deleteQueues([queue]));
  const worker = startWorker(t, {
    app: join(import.meta.dirname, "../support/apps/results-app.ts"),
    args: ["-l", "info", "-c", "2"],
    cwd: folder,
    env: {
      LOVAGE_BROKER_URL: broker,
      LOVAGE_RESULT_BACKEND: backend,
      LOVAGE_RESULT_EXPIRES: "3600",
      LOVAGE_RESULT_EXTENDED: "true",
      LOVAGE_SCHEDULE_URL: `sqlite:${join(folder, "lovage.db")}`,
      LOVAGE_TASK_DEFAULT_QUEUE: queue,
    },
  });
  await worker.waitForLine(/ ready\.$/);
  return {
    worker,
    queue,
    ask: async (sends: readonly Send[]): Promise<Report[]> => {
      const input = JSON.stringify({ broker, backend, queue, sends, kept: backend !== "rpc://" });
      return JSON.parse(await runPython(t, CLIENT, { input, cwd: folder })) as Report[];
    },
  };
}

const VALUES: readonly (readonly [string, string])[] = [
  ["null", "None"],
  ["unicode", `{'žluť': ['🐎', '\\x00 " \\\\ \\n', 'é']}`],
  ["big", "[1180591620717411303424, -9223372036854775808, 9007199254740991]"],
  ["floats", "[nan, inf, -inf, 1.5, -0.25]"],
  ["empty", "[[], {}, '']"],
  ["deep", "{'a': {'b': [{'c': [True, False]}]}}"],
];

/** Of each kind: module, class, arguments; a base class that `except` would name. */
const FAILURES: readonly (readonly [string, readonly [string, string, string], string])[] = [
  ["type", ["builtins", "TypeError", `("it's not a function",)`], "TypeError"],
  ["key", ["builtins", "KeyError", "('missing',)"], "LookupError"],
  ["imported", ["interop_errors", "CardDeclined", "('no money', 51)"], "CardDeclined"],
  ["nested", ["interop_errors", "Outer.Inner", "('inner',)"], "Inner"],
  ["own", ["celery.backends.base", "PaymentError", "('žluť 🐎',)"], "Exception"],
  ["text", ["celery.backends.base", "Error", "('only a text',)"], "Exception"],
];

for (const kind of ["redis", "rpc", "rpc on Redis"] as const) {
  describe(`a Python client reads results of a Lovage worker over ${kind}`, { skip, ...HANG }, () => {
    test("values, failures, states, retries, what has expired", async (t) => {
      const server = kind === "redis" ? await startRedis(t) : undefined;
      const broker = kind === "rpc on Redis" ? `${(await startRedis(t)).url}/1` : AMQP_URL;
      const { ask, queue, worker } = await world(t, broker, server === undefined ? "rpc://" : `${server.url}/3`);

      const reports = await ask([
        ...VALUES.map(([of]) => ({ task: "r.value", args: [of] })),
        ...FAILURES.map(([of]) => ({ task: "r.fail", args: [of] })),
        { task: "r.progress", forget: kind === "redis" },
        { task: "r.retry", args: ["again"] },
        { task: "r.echo", args: [1], expiresIn: -60 },
        { task: "no.such.task" },
        { task: "r.parent" },
      ]);

      for (const [i, [of, value]] of VALUES.entries()) {
        const { state, value: theirs, done, raises } = reports[i] as Report;
        assert.deepEqual([state, theirs, raises], ["SUCCESS", value, undefined], of);
        // Over rpc this release of Python's keeps the text.
        if (kind === "redis") assert.equal(done, "datetime", of);
      }
      for (const [i, [of, raises, base]] of FAILURES.entries()) {
        const report = reports[VALUES.length + i] as Report;
        assert.deepEqual([report.state, report.raises], ["FAILURE", raises], of);
        assert.ok(report.bases?.includes(base), `${of}: ${report.bases}`);
        if (of !== "text") assert.match(report.traceback ?? "", /results-app\.ts/, of);
      }
      const own = reports[VALUES.length + FAILURES.findIndex(([of]) => of === "own")] as Report;
      assert.match(own.traceback ?? "", /Caused by: RangeError: the cause\n/);

      const [progress, retry, expired, unknown, parent] = reports.slice(VALUES.length + FAILURES.length) as Report[];
      assert.deepEqual(
        progress?.states.filter(([state]) => state !== "PENDING"),
        [
          ["STARTED", null],
          ["PROGRESS", "{'done': 1, 'of': 2}"],
          ["HALFWAY", "'žluť 🐎'"],
          ["SUCCESS", "'all'"],
        ],
      );
      assert.equal(retry?.value, "['again', 1]");
      assert.ok(retry.states.some(([state]) => state === "RETRY"));
      assert.deepEqual(
        [expired?.state, expired?.raises],
        ["REVOKED", ["celery.exceptions", "TaskRevokedError", "('expired',)"]],
      );
      assert.deepEqual(unknown?.raises, ["celery.exceptions", "NotRegistered", "('no.such.task',)"]);
      if (server === undefined) {
        assert.equal(parent?.state, "SUCCESS");
        return;
      }
      const names = ["first", "second"];
      assert.deepEqual(
        parent?.children?.map(([, value]) => value),
        names.map((each) => `'${each}'`),
      );
      assert.equal(parent?.value, `['${parent?.children?.map(([id]) => id).join("', '")}']`);
      assert.equal(reports[0]?.extended, `['r.value', ['null'], {}, 0, '${queue}']`);
      assert.equal(progress?.forgotten, "PENDING");
      // As Celery's own SETEX does it.
      const leftMs = await rawClient(t, `${server.url}/3`).pttl(`celery-task-meta-${own.id}`);
      assert.ok(leftMs > 3_400_000 && leftMs <= 3_600_000, String(leftMs));
      assert.doesNotMatch(worker.text, /could not be stored/);
    });
  });
}
