/** What a user may count on with several real workers on one schedule, wherever it is. Called by a test file for each store. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { sendWithCelery, startCeleryWorker } from "../support/celery.ts";
import { atEnd } from "../support/cleanup.ts";
import { type Fleet, type Place, startFleet } from "../support/fleet.ts";
import { needCelery } from "../support/python.ts";
import { deleteQueues } from "../support/rabbitmq.ts";
import { AMQP_URL, needRabbitmq } from "../support/servers.ts";

export interface FleetStore {
  readonly name: string;
  readonly skip: string | false;
  /** A schedule of the test's own. */
  place(t: TestContext): Place;
}

const rabbitmq = await needRabbitmq();
const celery = await needCelery();
const LEASE_SECONDS = 2;

export function fleetSuite({ name, skip, place }: FleetStore): void {
  const PYTHON = { skip: skip || rabbitmq.skip || celery.skip };

  describe(`a fleet on a schedule in ${name}`, { skip }, () => {
    test("each callback runs on a worker that serves its queue, and on no other", async (t) => {
      const fleet = await startFleet(t, { place: place(t) });
      await Promise.all([fleet.worker("mailer", ["mail"]), fleet.worker("texter", ["sms"])]);
      const client = fleet.client();

      for (let n = 0; n < 4; n += 1) {
        for (const queue of ["mail", "sms"]) {
          const call = client.signature("fleet.note", { args: [queue] });
          await client.schedule.callAfter(0.2, call, { queue: fleet.queue(queue) });
        }
      }
      await fleet.ledger.waitFor(4, "ran", "mail", "mailer@fleet");
      await fleet.ledger.waitFor(4, "ran", "sms", "texter@fleet");

      await settled(fleet, client, 8);
      assert.equal(fleet.ledger.count("ran"), 8);
    });

    test(
      "what no worker serves goes to its queue as a message, where Python takes it; Python's countdown waits here, and revoke reaches it",
      PYTHON,
      async (t) => {
        const fleet = await startFleet(t, { place: place(t), broker: AMQP_URL });
        const [python, node] = [fleet.queue("python"), fleet.queue("node")];
        atEnd(t, () => deleteQueues([python, node, fleet.queue("default")]));
        const [celeryWorker] = await Promise.all([
          startCeleryWorker(t, {
            url: AMQP_URL,
            queue: python,
            tasks: `@app.task(name="billing.close")\ndef close(order, total=0):\n    print("closed", order, total, flush=True)\n`,
          }),
          fleet.worker("node", ["node"]),
        ]);
        const client = fleet.client();

        const close = client.signature("billing.close", { args: ["größe 42"], kwargs: { total: 7 }, queue: python });
        const sent = await client.schedule.callAfter(0.2, close);
        await celeryWorker.waitForLine(/closed größe 42 7/);
        await endOf(client, sent.id);
        assert.equal((await sent.get())?.state, "succeeded");

        const [later = "", soon = ""] = await sendWithCelery(t, AMQP_URL, [
          { task: "fleet.note", args: ["later"], queue: node, countdown: 3_600 },
          { task: "fleet.note", args: ["soon"], queue: node, countdown: 1 },
        ]);
        await fleet.ledger.waitFor(1, "ran", "soon", "node@fleet", soon);
        const parked = await only(client, { states: ["scheduled"] });
        assert.equal(parked.taskId, later);
        await client.result(later).revoke();
        assert.equal((await client.schedule.get(parked.id))?.state, "cancelled");
      },
    );

    test("a worker that is killed with kill -9 loses what it ran to another one, whose token is higher", async (t) => {
      const fleet = await startFleet(t, { place: place(t), env: { LOVAGE_SCHEDULE_LEASE: String(LEASE_SECONDS) } });
      const [first, second] = await Promise.all([fleet.worker("w1"), fleet.worker("w2")]);
      const client = fleet.client();
      const gate = fleet.gate("kill");

      const { id } = await client.schedule.callAfter(0, client.signature("fleet.hold", { args: ["x", gate] }));
      const [[, , owner, attempt, token] = []] = await fleet.ledger.waitFor(1, "held", "x");
      await (owner === "w1@fleet" ? first : second).kill9();
      const [, [, , heir, nextAttempt, nextToken] = []] = await fleet.ledger.waitFor(2, "held", "x");
      await fleet.open(gate);
      await endOf(client, id);

      assert.notEqual(heir, owner);
      assert.deepEqual([attempt, nextAttempt], [1, 2]);
      assert.ok(Number(nextToken) > Number(token), `${nextToken} after ${token}`);
      const record = await client.schedule.get(id);
      assert.deepEqual([record?.state, record?.attempts], ["succeeded", 2]);
      assert.equal(fleet.ledger.count("let go"), 1);
    });

    test("cancelled by a client, by a task in its sub-process, and from the command line: none starts; one that runs is aborted from elsewhere", async (t) => {
      const fleet = await startFleet(t, { place: place(t) });
      const [worker] = await Promise.all([fleet.worker("w1"), fleet.worker("w2")]);
      const client = fleet.client();
      const never = (key: string) =>
        client.schedule.callAfter(60, client.signature("fleet.note", { args: ["never"] }), { key });
      await Promise.all([never("by client"), never("by task"), never("by ünïcode cli")]);

      assert.equal(await client.schedule.cancel("by client"), "cancelled");
      const cli = await fleet.schedule("cancel", "by ünïcode cli");
      assert.deepEqual([cli.stdout, cli.status], ["cancelled", 0]);
      await client.signature("fleet.cancel", { args: ["by task"] }).delay();
      const [[, , answer, pid] = []] = await fleet.ledger.waitFor(1, "answered", "by task");
      assert.equal(answer, "cancelled");
      assert.notEqual(pid, worker.pid);
      const { cancelled, scheduled } = await client.schedule.counts();
      assert.deepEqual([cancelled, scheduled], [3, 0]);

      const hold = client.signature("fleet.hold", { args: ["endless", fleet.gate("never")] });
      const { id } = await client.schedule.callAfter(0, hold, { key: "endless" });
      await fleet.ledger.waitFor(1, "held", "endless");
      const aborted = await fleet.schedule("cancel", "endless", "--running", "abort", "--json");
      assert.deepEqual([JSON.parse(aborted.stdout).answer, aborted.status], ["running", 1]);
      await endOf(client, id);
      assert.equal((await client.schedule.get(id))?.state, "stopped");
      assert.equal(fleet.ledger.count("ran", "never"), 0);
    });

    test("a recurrence that each process declares runs once at each of its times; paused, resumed and ended from the command line", (t) =>
      recursOnce(t, place(t)));

    test("a slip in what recurs is told to the task in one line, and its worker goes on", async (t) => {
      const fleet = await startFleet(t, { place: place(t) });
      const worker = await fleet.worker("w1");
      const client = fleet.client();

      await client.schedule.callAfter(0, client.signature("fleet.slip"));
      const said = (await fleet.ledger.waitFor(3, "refused")).map(([, text]) => String(text));

      for (const [i, pattern] of [/"0 0 30 2 \*" never comes/, /"every day"/, /Europe\/Atlantis/].entries()) {
        assert.match(said[i] ?? "", pattern);
        assert.doesNotMatch(said[i] ?? "", /\n/);
      }
      await fleet.afterAllThatIsDue(client);
      assert.equal(await client.schedule.recurrence("slip"), undefined);
      assert.deepEqual(await worker.stop(), { status: 0, signal: null });
    });
  });
}

/** Two workers declare it at their start, and share its occurrences. */
export async function recursOnce(t: TestContext, place: Place): Promise<void> {
  const fleet = await startFleet(t, { place, env: { FLEET_RECURS: "tick" } });
  const client = fleet.client();
  await Promise.all([fleet.worker("w1"), fleet.worker("w2")]);
  const declared = await fleet.ledger.waitFor(2, "declared");
  assert.deepEqual(declared.map(([, put]) => put).toSorted(), ["added", "existing"]);

  await fleet.ledger.waitFor(4, "ran", "tick");
  const paused = await fleet.schedule("pause", "tick");
  assert.deepEqual([paused.stdout, paused.status], ["paused", 0]);
  await fleet.afterAllThatIsDue(client);
  const before = fleet.ledger.count("ran", "tick");
  await fleet.afterAllThatIsDue(client, 0.8);
  assert.equal(fleet.ledger.count("ran", "tick"), before, "none while it is paused");

  const resumed = await fleet.schedule("resume", "tick");
  assert.match(resumed.stdout, /^\d{4}-.*Z$/);
  await fleet.ledger.waitFor(before + 2, "ran", "tick");
  const ended = await fleet.schedule("cancel", "tick");
  assert.match(ended.stdout, /^(stopped|running)$/, "it ran before");
  await fleet.afterAllThatIsDue(client, 0.8);

  const ran = fleet.ledger.of("ran", "tick").map(([, , , taskId]) => taskId);
  assert.equal(new Set(ran).size, ran.length, "each occurrence once");
  const succeeded = [];
  for await (const each of client.schedule.list({ recurrence: "tick", states: ["succeeded"] })) succeeded.push(each);
  assert.deepEqual(succeeded.map(({ taskId }) => taskId).toSorted(), ran.toSorted());
  const times = succeeded.map(({ occurrence }) => occurrence?.nominalMs);
  assert.equal(new Set(times).size, times.length, "one occurrence at each time");
}

/**
 * A worker whose store goes away says so once and keeps running; when the store is back, it records what ended meanwhile, and fires what
 * was due.
 * @param server of the test's own, which keeps what it acknowledged
 */
export async function outlivesItsStore(
  t: TestContext,
  url: string,
  server: { stop(): Promise<void>; start(): Promise<void> },
): Promise<void> {
  const fleet = await startFleet(t, { place: { url } });
  const worker = await fleet.worker("w1");
  const client = fleet.client();
  const gate = fleet.gate("away");
  // It takes the only slot; what is due behind it waits.
  const running = await client.schedule.callAfter(0, client.signature("fleet.hold", { args: ["through", gate] }));
  await fleet.ledger.waitFor(1, "held", "through");
  await client.schedule.callAfter(0, client.signature("fleet.note", { args: ["behind"] }));

  await server.stop();
  await worker.waitForLine(/ERROR.*The schedule does not answer; nothing starts until it does/);
  const command = await fleet.schedule("counts");
  assert.match(command.stderr, /^lovage: .*nothing listens.*$/);
  assert.equal(command.status, 1);
  await fleet.open(gate);
  await fleet.ledger.waitFor(1, "let go", "through");
  assert.equal(fleet.ledger.count("ran", "behind"), 0);
  await server.start();
  await worker.waitForLine(/INFO.*The schedule answers again/);
  await fleet.ledger.waitFor(1, "ran", "behind");

  const later = fleet.client(); // a client tries again in its own time
  await endOf(later, running.id);
  const record = await later.schedule.get(running.id);
  assert.deepEqual([record?.state, record?.attempts], ["succeeded", 1]);
  assert.equal(worker.lines.filter((line) => /The schedule does not answer/.test(line)).length, 1, worker.text);
  assert.deepEqual(await worker.stop(), { status: 0, signal: null });
  assert.equal(fleet.ledger.count("ran", "behind"), 1);
}

type Client = ReturnType<Fleet["client"]>;

/** Resolves when the end of its run is recorded. */
async function endOf(client: Client, id: string): Promise<void> {
  for (;;) {
    const state = (await client.schedule.get(id))?.state;
    if (state === undefined || !["scheduled", "waiting", "running"].includes(state)) return;
    await new Promise(setImmediate);
  }
}

/** Resolves when so many have succeeded, and none is left. */
async function settled(fleet: Fleet, client: Client, count: number): Promise<void> {
  for (;;) {
    const { succeeded, scheduled, running } = await client.schedule.counts();
    if (succeeded >= count && scheduled === 0 && running === 0) return;
    await new Promise(setImmediate);
    if (fleet.ledger.count("ran") > count) return;
  }
}

async function only(client: Client, filter: Parameters<Client["schedule"]["listPage"]>[0]) {
  const { callbacks } = await client.schedule.listPage(filter);
  const [first] = callbacks;
  assert.ok(first !== undefined && callbacks.length === 1, `one callback, not ${callbacks.length}`);
  return first;
}
