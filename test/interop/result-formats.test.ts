/** Results in YAML and MessagePack, as `result_serializer` says on both sides, kept in Redis and sent by rpc. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Lovage, TaskError } from "lovage";
import { startCeleryWorker } from "../support/celery.ts";
import { interop } from "../support/interop.ts";
import { needCelery, runPython } from "../support/python.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";

const skip = (await needCelery()).skip || needRedisServer().skip;
const WORDS = ["žluť 🐎", { yes: "no", "1e5": "~", deep: [[]] }, 9_007_199_254_740_993n, 1.5, true, null];
const TEXT = `["žluť 🐎", {"yes": "no", "1e5": "~", "deep": [[]]}, 9007199254740993, 1.5, True, None]`;
/** Without the integer that the notes of the task have no word for. */
const SENT = TEXT.replace(" 9007199254740993,", "");

for (const serializer of ["yaml", "msgpack"]) {
  for (const kind of ["redis", "rpc"]) {
    describe(`results in ${serializer} by ${kind}`, { skip, timeout: 120_000 }, () => {
      test("of a Lovage worker are read by Python, and of Python's by Lovage", async (t) => {
        const { url } = await startRedis(t);
        const backend = kind === "redis" ? `${url}/1` : "rpc://";
        const world = await interop(t, { broker: { url } });
        const env = { LOVAGE_RESULT_BACKEND: backend, LOVAGE_RESULT_SERIALIZER: serializer };
        await world.worker({ ...env, LOVAGE_TASK_TRACK_STARTED: "true" });
        const python = `${world.queue}-python`;
        await startCeleryWorker(t, { url, queue: python, tasks: `${conf(backend, serializer)}\n${TASKS}` });

        const told = JSON.parse(await runPython(t, client(url, backend, serializer, world.queue))) as unknown[];
        assert.deepEqual(told, ["True", "SUCCESS", "RangeError", "('far',)", "FAILURE"]);
        await lovageReads(world.client(env), python);
      });
    });
  }
}

async function lovageReads(app: Lovage, queue: string): Promise<void> {
  const send = (task: string, args: unknown[]) => app.signature(task, { args, queue }).delay();
  const [value, failure] = await Promise.all([send("p.value", []), send("p.fail", ["boom"])]);
  assert.deepEqual(await value.get({ timeout: 60 }), WORDS);
  const error = await failure.get({ timeout: 60, propagate: false });
  assert.ok(error instanceof TaskError);
  assert.deepEqual([error.excType, error.excArgs], ["ValueError", ["boom", 42]]);
}

const TASKS = `
@app.task(name="p.value")
def value():
    return ${TEXT}

@app.task(name="p.fail")
def fail(why):
    raise ValueError(why, 42)
`;

function conf(backend: string, serializer: string): string {
  const of = JSON.stringify(serializer);
  return `app.conf.update(result_backend=${JSON.stringify(backend)}, result_serializer=${of}, result_accept_content=["json", ${of}])`;
}

function client(url: string, backend: string, serializer: string, queue: string): string {
  return `
import json
from celery import Celery
app = Celery("client", broker=${JSON.stringify(url)}, backend=${JSON.stringify(backend)})
${conf(backend, serializer)}
value = app.send_task("demo.foo", [${SENT}], queue=${JSON.stringify(queue)})
out = [repr(value.get(timeout=60)["word"] == ${SENT}), value.state]
failed = app.send_task("demo.fail", ["far"], queue=${JSON.stringify(queue)})
try:
    failed.get(timeout=60)
except Exception as error:
    out += [type(error).__name__, repr(error.args), failed.state]
print(json.dumps(out))
`;
}
