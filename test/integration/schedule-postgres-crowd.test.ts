/**
 * A crowd on one schedule in PostgreSQL: many lanes on several stores do whatever comes to mind to the same few keys, task ids and recurrences,
 * while a snapshot of the tables is looked at again and again: what must hold after each operation holds at every moment.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Claim, NewCallback, RunEnd } from "../../src/schedule/callback.ts";
import { openPostgresSchedule } from "../../src/schedule/stores/postgres.ts";
import { crashed, dueAt, failed, ok, retryAt } from "../../src/testing/schedule-fixtures.ts";
import { definition, planOf, recurring } from "../../src/testing/schedule-recurrence-fixtures.ts";
import { atEnd } from "../support/cleanup.ts";
import { connectPlain, needPostgres, ownSchema } from "../support/postgres.ts";

const { skip } = await needPostgres();
const LANES = 16;
const STEPS = 60;
const LEASE_MS = 5_000;

type Store = Awaited<ReturnType<typeof openPostgresSchedule>>;

const any = (count: number) => Math.floor(Math.random() * count);
const oneOf = <T>(...of: readonly T[]): T => of[any(of.length)] as T;

/** What broke of: one live row for a key; one running occurrence where they must not overlap; counts; leases, attempts and ends; tags; nothing scheduled of what is paused or replaced. */
const LOOK = (s: string) => `
  WITH c AS (SELECT * FROM "${s}".callbacks)
  SELECT
    (SELECT count(*) FROM (SELECT key FROM c WHERE key IS NOT NULL AND state <= 2 GROUP BY key HAVING count(*) > 1) k)::integer AS keys,
    (SELECT count(*) FROM (SELECT recurrence FROM c WHERE overlap > 0 AND state IN (1, 2) GROUP BY recurrence
       HAVING count(*) FILTER (WHERE state = 2 AND attempts = 1) > 1) r)::integer AS overlapping,
    (SELECT count(*) FROM c WHERE (state = 2) <> (lease IS NOT NULL) OR (attempts = 0) <> (state IN (0, 6, 8, 9))
       OR (state > 2) <> (ended IS NOT NULL))::integer AS odd,
    (SELECT count(*) FROM c CROSS JOIN unnest(c.tags) its(tag) WHERE NOT EXISTS (
       SELECT FROM "${s}".tags t WHERE t.ns = c.ns AND t.tag = its.tag AND t.due = c.due AND t.n = c.n))::integer AS untagged,
    (SELECT count(*) FROM "${s}".tags t WHERE NOT EXISTS (SELECT FROM c WHERE c.n = t.n AND c.due = t.due))::integer AS stray,
    (SELECT count(*) FROM c JOIN "${s}".recurrences r ON r.n = c.recurrence
       WHERE c.state = 0 AND (r.state = 1 OR c.generation <> r.generation))::integer AS outdated,
    (SELECT coalesce(sum(scheduled), 0) <> (SELECT count(*) FROM c WHERE state = 0)
       OR coalesce(sum(waiting), 0) <> (SELECT count(*) FROM c WHERE state = 1)
       OR coalesce(sum(running), 0) <> (SELECT count(*) FROM c WHERE state = 2)
       OR coalesce(sum(scheduled + waiting + running + succeeded + failed + dead + cancelled + stopped + expired + skipped), 0)
          <> (SELECT count(*) FROM c) FROM "${s}".deltas)::integer AS miscounted`;

describe("a crowd on one schedule in PostgreSQL", { skip }, () => {
  test("keeps every invariant at every moment, and nobody gets an error", async (t) => {
    const { url, schema } = ownSchema(t);
    const stores = await Promise.all(Array.from({ length: 4 }, () => openPostgresSchedule(url)));
    atEnd(t, async () => void (await Promise.all(stores.map((store) => store.close()))));
    const watcher = await connectPlain(url);
    atEnd(t, () => watcher.end());
    const held: Claim[] = [];
    const recurrences: string[] = [];
    const starts = new Map<string, string>();
    const cancelled = new Set<string>();

    const steps: Record<string, (store: Store) => Promise<unknown>> = {
      put: (store) => store.put(Array.from({ length: 1 + any(4) }, someCallback)),
      claim: async (store) => {
        const owner = { id: `w${any(4)}`, ...(any(2) === 0 ? {} : { queues: [`q${any(3)}`] }) };
        const { claims } = await store.claimDue(owner, 1 + any(5), any(10) === 0 ? 1 : LEASE_MS);
        for (const claim of claims) {
          const { id } = claim.callback;
          assert.ok(!starts.has(`${id} ${claim.token}`), `I10: ${id} was claimed twice with token ${claim.token}`);
          starts.set(`${id} ${claim.token}`, id);
          assert.ok(!cancelled.has(id), `I11: ${id} started after its cancel was promised`);
          held.push(claim);
        }
      },
      settle: async (store) => {
        const [claim] = held.splice(any(held.length), 1);
        if (claim === undefined) return;
        const end = oneOf<RunEnd>(ok, failed, crashed, retryAt(Date.now()), { kind: "lost", reason: "a cold stop" });
        await store.settle(claim, end).catch((error) => assert.equal(error.code, "ERR_LEASE_LOST"));
      },
      release: (store) => store.release(held.splice(any(held.length), 2)),
      renew: (store) => store.renew(held.slice(0, 5), LEASE_MS),
      cancel: async (store) => {
        const id = held[any(held.length)]?.callback.id;
        const answer = await store.cancel(any(2) === 0 || id === undefined ? { key: `k${any(20)}` } : { id }, {
          abort: any(2) === 0,
        });
        if (answer.answer === "cancelled") cancelled.add(answer.id);
      },
      reschedule: (store) => store.reschedule({ key: `k${any(20)}` }, { byMs: any(100) - 50 }),
      revoke: (store) => store.revoke(`t${any(10)}`, Date.now() + any(200), { abort: any(2) === 0 }),
      sweep: (store) => store.sweep({ id: `w${any(4)}` }, 50),
      takeAborts: (store) => store.takeAborts({ id: `w${any(4)}` }),
      recur: async (store) => {
        const of = definition({ overlap: oneOf("skip", "queue") }, { queue: `q${any(3)}`, tags: ["recurs"] });
        const plan = planOf(...[0, 10, 20].map((ms) => Date.now() + ms));
        const wanted = { key: `r${any(4)}`, fingerprint: `f${any(5)}`, definition: of };
        recurrences.push((await store.recurrences.put(recurring(plan, wanted))).id);
      },
      change: async (store) => {
        const id = recurrences[any(recurrences.length)] ?? "none";
        const found = await store.recurrences.get({ id });
        if (found === undefined) return;
        const { generation, nextMs } = found;
        const step = any(6);
        if (step === 0) await store.recurrences.pause({ id });
        else if (step === 1) await store.recurrences.resume({ id }, generation, planOf(Date.now() + 5));
        else if (step === 2) await store.recurrences.cancel({ id }, { abort: any(2) === 0 });
        else if (nextMs !== undefined)
          await store.recurrences.advance(id, { generation, nextMs }, planOf(nextMs + 10, nextMs + 20));
      },
    };
    const names = Object.keys(steps);
    let left = LANES;
    const lane = async () => {
      for (let i = 0; i < STEPS; i++) await steps[oneOf(...names)]?.(oneOf(...stores));
      left -= 1;
    };
    const watch = async () => {
      let looks = 0;
      for (; left > 0 || looks === 0; looks++) {
        const { rows } = await watcher.query(LOOK(schema));
        assert.deepEqual(rows, [
          { keys: 0, overlapping: 0, odd: 0, untagged: 0, stray: 0, outdated: 0, miscounted: 0 },
        ]);
      }
      return looks;
    };

    const [looks] = await Promise.all([watch(), ...Array.from({ length: LANES }, lane)]);

    assert.ok(looks > 1 && starts.size > 0);
    // At the end too, by what the store itself says.
    const ended = new Set((await all(stores[0] as Store)).filter(({ attempts }) => attempts > 0).map(({ id }) => id));
    for (const id of cancelled) assert.ok(!ended.has(id), `I11: ${id} had started when its cancel was promised`);
  });
});

function someCallback(): NewCallback {
  return dueAt(Date.now() + any(50), {
    queue: `q${any(3)}`,
    ...(any(2) === 0 ? { key: `k${any(20)}`, onConflict: oneOf("keep", "replace", "reject") } : {}),
    ...(any(5) === 0 ? { taskId: `t${any(10)}` } : {}),
    ...(any(4) === 0 ? { tags: ["x", `y${any(3)}`] } : {}),
  });
}

async function all(store: Store) {
  const found = [];
  let page = await store.list({ limit: 1_000 });
  for (;;) {
    found.push(...page.callbacks);
    if (page.next === undefined) return found;
    page = await store.list({ limit: 1_000, cursor: page.next });
  }
}
