/** Links, errbacks and chains that real Celery sends, across both languages. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { startCeleryWorker } from "../support/celery.ts";
import { atEnd } from "../support/cleanup.ts";
import { interop } from "../support/interop.ts";
import { needCelery, runPython } from "../support/python.ts";
import { deleteQueues } from "../support/rabbitmq.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";

const { skip: noRabbitmq } = await needRabbitmq();
const { skip: noCelery } = await needCelery();
const APP = join(import.meta.dirname, "../support/apps/task-app.ts");

/** Runs Python with `app`, `q` (Node's queue) and `pq` (Python's) at hand; answers what it prints as JSON. */
async function canvas(t: TestContext, queues: { q: string; pq: string }, code: string): Promise<string[]> {
  const begin = `
import json, sys
from celery import Celery, chain, signature
order = json.load(sys.stdin)
app = Celery("canvas", broker=order["url"], set_as_current=True)
q, pq = order["q"], order["pq"]
def s(task, *args, queue=q, **options):
    return app.signature(task, args=args, queue=queue, **options)
`;
  return JSON.parse(
    await runPython(t, begin + code, { input: JSON.stringify({ url: AMQP_URL, ...queues }) }),
  ) as string[];
}

describe("what real Celery links", { skip: noRabbitmq || noCelery, timeout: 180_000 }, () => {
  test("goes on from Node to Python and back, one step after the other, and fails as one", async (t) => {
    const world = await interop(t, { app: APP });
    const pq = `lovage-test-${randomUUID()}`;
    atEnd(t, () => deleteQueues([pq]));
    const worker = await world.worker();
    const python = await startCeleryWorker(t, {
      url: AMQP_URL,
      queue: pq,
      tasks:
        '@app.task(name="py.times")\ndef times(a, b):\n    return a * b\n' +
        '@app.task(name="py.note")\ndef note(*words):\n    print("NOTED", list(words), flush=True)\n',
    });
    const client = world.client();
    const queues = { q: world.queue, pq };

    // A chain: 1 + 2 by Node, times 10 by Python, again by Node.
    const [last = "", first = ""] = await canvas(
      t,
      queues,
      `r = chain(s("tasks.add", 1, 2), s("py.times", 10, queue=pq), s("tasks.echo", "end")).apply_async()
print(json.dumps([r.id, r.parent.parent.id]))`,
    );
    assert.deepEqual(await client.result(last).get({ timeout: 60 }), [30, "end"]);
    const [, , at] = world.ledger.of("echo")[0] as [string, unknown, Record<string, unknown>];
    assert.equal(at.id, last);
    assert.equal(at.rootId, first);
    assert.equal((await client.result(first).children())?.length, 1);

    // A link to each side, and an errback.
    await canvas(
      t,
      queues,
      `a = s("tasks.add", 3, 4)
a.link(s("py.note", "linked", queue=pq))
a.link(s("tasks.echo", "linked"))
a.apply_async()
b = s("tasks.fail", "broken")
b.link(s("tasks.echo", "never"))
b.link_error(s("py.note", "errback", queue=pq))
r = b.apply_async()
print(json.dumps([r.id]))`,
    ).then(async ([failed = ""]) => {
      await python.waitForLine(/NOTED \[7, 'linked'\]/);
      await world.ledger.waitFor(1, "echo", [7, "linked"]);
      await python.waitForLine(new RegExp(`NOTED \\['${failed}', 'errback'\\]`));
    });

    // A step that fails: the ones after it are FAILURE too, and do not run.
    const [never = ""] = await canvas(
      t,
      queues,
      `r = chain(s("tasks.fail", "early"), s("tasks.echo", "never")).apply_async()
print(json.dumps([r.id]))`,
    );
    await assert.rejects(client.result(never).get({ timeout: 60 }), (error: { excType: string }) => {
      assert.equal(error.excType, "RangeError");
      return true;
    });
    await client.signature("tasks.echo", { args: ["last"] }).delay();
    await world.ledger.waitFor(1, "echo", ["last"]);
    assert.equal(world.ledger.of("echo").filter(([, words]) => String(words).includes("never")).length, 0);
    await worker.stop();
  });

  test("a retry to a queue of Python's is a message that Python runs when it is due", async (t) => {
    const world = await interop(t, { app: APP });
    const pq = `lovage-test-${randomUUID()}`;
    atEnd(t, () => deleteQueues([pq]));
    const worker = await world.worker();
    const python = await startCeleryWorker(t, {
      url: AMQP_URL,
      queue: pq,
      tasks:
        '@app.task(name="tasks.moveTo", bind=True)\ndef move_to(self, queue):\n' +
        '    print("MOVED", self.request.id, self.request.retries, self.request.parent_id, flush=True)\n',
    });
    const client = world.client();
    const result = await client.signature("tasks.moveTo", { args: [pq] }).delay();
    await python.waitForLine(new RegExp(`MOVED ${result.id} 1 ${result.id}`));
    assert.equal(await result.status(), "RETRY", "Python has no backend to overwrite it");
    assert.equal(world.ledger.count("moveTo"), 1);
    await worker.stop();
  });
});
