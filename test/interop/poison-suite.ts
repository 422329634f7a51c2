/**
 * The whole poison corpus, shuffled among good messages, against a worker process on a real broker: each case ends as its file says, every
 * good message runs, and the worker lives.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Lovage, Quarantined } from "lovage";
import { isOn, type Poison, type PoisonCase, poisonOf, readCorpus, type Transport } from "../poison/corpus.ts";
import { interop } from "../support/interop.ts";

export interface PoisonSender {
  /** Put it on the queue, as whoever it comes from would. */
  send(poison: Poison): Promise<void>;
  close(): Promise<void>;
}

const APP = join(import.meta.dirname, "../support/apps/poison-app.ts");
const GOOD: PoisonCase = { id: "good", what: "a good one", expect: { state: "SUCCESS" } };

export function poisonSuite(
  transport: Transport,
  /** Where the broker is, and how a message gets into it. */
  open: (t: TestContext) => Promise<{ readonly url: string; connect(queue: string): Promise<PoisonSender> }>,
): void {
  test(`every case ends as it should, on ${transport}`, async (t) => {
    const { url, connect } = await open(t);
    const world = await interop(t, { broker: { url }, app: APP });
    const worker = await world.worker();
    const client = world.client();
    const seed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 1e9));
    t.diagnostic(`TEST_SEED=${seed}`);

    const sender = await connect(world.queue);
    const sent: Poison[] = [];
    const cases = shuffled(
      readCorpus().filter((each) => isOn(each, transport)),
      seed,
    );
    for (const each of cases) {
      for (const next of [each, { ...GOOD, id: `good ${randomUUID()}` }]) {
        const poison = poisonOf(next, world.queue, Date.now());
        if (next.before === "revoke") await client.result(poison.id).revoke();
        sent.push(poison);
        await sender.send(poison);
      }
    }
    await sender.close();

    const refused = sent.filter(({ case: { expect } }) => expect.quarantined !== undefined);
    await until(
      "all that is refused is in quarantine",
      async () => (await client.quarantine.count()) >= refused.length,
    );
    const records: Quarantined[] = [];
    for await (const each of client.quarantine.list()) records.push(each);
    const wrong: string[] = [];
    const expected = refused.map((each) => each.case.expect.quarantined).sort();
    const codes = records.map(({ code }) => code).sort();
    if (!expected.includes("*") && String(codes) !== String(expected)) wrong.push(`codes: ${codes} for ${expected}`);
    // First those that are known by their id.
    for (const poison of refused.toSorted(
      (a, b) => Number(keptId(a) === undefined) - Number(keptId(b) === undefined),
    )) {
      if (!takeRecord(records, poison))
        wrong.push(`${poison.case.id} is not in quarantine as ${poison.case.expect.quarantined}`);
    }
    for (const { code, reason } of records) wrong.push(`in quarantine, and nobody expected it: ${code} ${reason}`);

    for (const poison of sent)
      await checkEnd(client, poison, wrong, (id) => world.ledger.of("begun").filter(([, , of]) => of === id).length);
    assert.deepEqual(wrong, []);
    assert.deepEqual(await worker.stop(), { status: 0, signal: null });
  });
}

async function checkEnd(client: Lovage, poison: Poison, wrong: string[], runs: (id: string) => number): Promise<void> {
  const { id: name, expect } = poison.case;
  const { id } = poison;
  if (expect.state !== undefined) {
    const results = await client.backends.results();
    await until(`${name} ends`, async () =>
      ["SUCCESS", "FAILURE", "REVOKED"].includes((await results.get(id))?.status ?? ""),
    );
    const document = await results.get(id);
    if (document?.status !== expect.state) wrong.push(`${name}: ${document?.status} ${document?.result}`);
    else if (expect.excType !== undefined && !document.result.includes(`"${expect.excType}"`)) {
      wrong.push(`${name}: ${document.result}`);
    } else if (expect.result !== undefined && compact(document.result) !== compact(expect.result)) {
      wrong.push(`${name}: ${document.result} instead of ${expect.result}`);
    }
  }
  const begun = expect.runs ?? (expect.quarantined !== undefined ? 0 : expect.state === "SUCCESS" ? 1 : undefined);
  if (begun !== undefined && runs(id) !== begun) wrong.push(`${name}: began ${runs(id)} times instead of ${begun}`);
}

/** The record of this case: its code and its bytes, and its id where that is a text that is kept. */
function takeRecord(records: Quarantined[], poison: Poison): boolean {
  const { case: each, message, raw } = poison;
  const { quarantined } = each.expect;
  const body = Buffer.from(raw ?? message.body);
  const id = keptId(poison);
  const at = records.findIndex(
    (record) =>
      (quarantined === "*" || record.code === quarantined) &&
      (record.truncated ? sizeFits(record, poison) : bytesFit(record, poison, body)) &&
      (id === undefined || record.headers.id === id),
  );
  if (at >= 0) records.splice(at, 1);
  return at >= 0;
}

/** Of an envelope that could be read the body is kept, which has the case's name in it. */
function bytesFit(record: Quarantined, { case: { id }, raw }: Poison, body: Buffer): boolean {
  const kept = Buffer.from(record.body);
  return kept.equals(body) || (raw !== undefined && new RegExp(`${id}(?![a-z])`).test(kept.toString()));
}

function sizeFits({ bodyBytes }: Quarantined, { message, raw }: Poison): boolean {
  return raw === undefined ? bodyBytes === message.body.byteLength : Math.abs(bodyBytes - raw.byteLength) < 1_000;
}

function keptId({ message, raw }: Poison): string | undefined {
  const { id } = message.headers;
  return raw === undefined && typeof id === "string" && id.length < 500 ? id : undefined;
}

function compact(json: string): string {
  return json.replace(/([,:]) /g, "$1");
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 3_000; i += 1) {
    if (await holds()) return;
    await wait(20);
  }
  throw new Error(`it never came that ${what}`);
}

/** The same order for the same seed. */
function shuffled<T>(items: readonly T[], seed: number): T[] {
  let state = seed >>> 0;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const order = [...items];
  for (let i = order.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1));
    const [a, b] = [order[i] as T, order[j] as T];
    [order[i], order[j]] = [b, a];
  }
  return order;
}
