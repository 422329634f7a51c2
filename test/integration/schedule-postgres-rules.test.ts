/** What becomes of a callback is said twice for PostgreSQL, in rules.ts and in SQL: both must say the same, word for word. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import fc from "fast-check";
import { recurrenceId } from "../../src/schedule/ids.ts";
import { limitsOf } from "../../src/schedule/limits.ts";
import {
  fateOfCrash,
  fateOfLoss,
  fateOfOverlap,
  fateOfRetry,
  fateWhenDue,
  turnOfHeld,
} from "../../src/schedule/rules.ts";
import { idOf, parseId, parseRecurrenceId } from "../../src/schedule/stores/postgres/names.ts";
import { OVERLAPS, stateNumber } from "../../src/schedule/stores/postgres/rows.ts";
import { openPostgresSchedule } from "../../src/schedule/stores/postgres.ts";
import { connectPlain, dropSchema, needPostgres, newSchema, POSTGRES_URL, withSchema } from "../support/postgres.ts";

const { skip } = await needPostgres();
const RUNS = { numRuns: 300, seed: 20_261_126 };
const NOW_MS = Date.UTC(2026, 10, 26, 1, 2, 3, 4);

const near = fc.oneof(fc.integer({ min: -5_000, max: 5_000 }), fc.constantFrom(0, 1, -1, 1_000, 1_001, -1_000, -1_001));
const row = fc.record({
  attempts: fc.nat(2),
  dueMs: near.map((ms) => NOW_MS + ms),
  expiresMs: fc.option(near.map((ms) => NOW_MS + ms)),
  misfire: fc.constantFrom("fire", "skip"),
  graceMs: fc.constantFrom(0, 1, 999, 1_000, 4_000),
  nominalMs: fc.option(near.map((ms) => NOW_MS + ms)),
  overlap: fc.constantFrom(...OVERLAPS),
});
const lost = fc.record({
  onLost: fc.constantFrom("rerun", "fail"),
  crashes: fc.integer({ min: 1, max: 5 }),
  losses: fc.integer({ min: 1, max: 12 }),
  unwanted: fc.boolean(),
});
const why = fc.string({ unit: "grapheme", maxLength: 20 }).map((text) => text.replaceAll("\0", ""));

describe("the rules in SQL", { skip }, async () => {
  if (skip !== false) return;
  const schema = newSchema();
  await (await openPostgresSchedule(withSchema(POSTGRES_URL, schema))).close();
  const client = await connectPlain(POSTGRES_URL);
  after(async () => {
    await client.end();
    await dropSchema(schema);
  });
  const ask = async (call: string, values: unknown[]) =>
    (await client.query(`SELECT to_json(f) AS f FROM "${schema}".${call} f`, values)).rows[0]?.f as Record<
      string,
      unknown
    >;
  const said = (fate: { state: string; reason?: string | null } | undefined) => ({
    state: fate === undefined ? null : stateNumber(fate.state as never),
    reason: fate?.reason ?? null,
  });

  test("say what rules.ts says when the time has come", async () => {
    await fc.assert(
      fc.asyncProperty(row, async (of) => {
        const flags = of.misfire === "skip" ? 1 : 0;
        const sql = await ask("fate_when_due($1,$2,$3,$4,$5,$6,$7)", [
          of.attempts,
          of.dueMs,
          of.expiresMs,
          flags,
          of.graceMs,
          of.nominalMs,
          NOW_MS,
        ]);
        assert.deepEqual(sql, said(fateWhenDue(of, NOW_MS)));
      }),
      RUNS,
    );
  });

  test("say what rules.ts says of an occurrence in whose way another is", async () => {
    await fc.assert(
      fc.asyncProperty(row, async (of) => {
        const flags = of.misfire === "skip" ? 1 : 0;
        const values = [OVERLAPS.indexOf(of.overlap), of.dueMs, flags, of.graceMs, of.nominalMs, NOW_MS];
        const sql = await ask("fate_of_overlap($1,$2,$3,$4,$5,$6)", values);
        const fate = fateOfOverlap({ ...of, attempts: 0 }, true, NOW_MS);
        if (fate?.state === "held") {
          assert.deepEqual(sql, { state: null, reason: null, held_due: fate.dueMs, held_grace: fate.graceMs });
        } else assert.deepEqual(sql, { ...said(fate), held_due: null, held_grace: null });
      }),
      RUNS,
    );
  });

  test("say what rules.ts says of a run that was lost, and of one that asks for another", async () => {
    await fc.assert(
      fc.asyncProperty(lost, fc.integer({ min: 1, max: 11 }), why, async (of, limit, how) => {
        const limits = limitsOf({ crashLimit: limit, lostLimit: limit });
        const fails = of.onLost === "fail";
        const crash = await ask("fate_of_crash($1,$2,$3,$4,$5)", [fails, of.crashes, of.unwanted, limit, how]);
        assert.deepEqual(crash, said(fateOfCrash(of, limits, how)));
        const loss = await ask("fate_of_loss($1,$2,$3,$4,$5)", [fails, of.losses, of.unwanted, limit, how]);
        assert.deepEqual(loss, said(fateOfLoss(of, limits, how)));
        const retry = await ask("fate_of_crash(false, 0, $1, 1, NULL)", [of.unwanted]);
        assert.deepEqual(retry, said(fateOfRetry(of.unwanted)));
      }),
      RUNS,
    );
    const plain = { onLost: "fail", crashes: 0, losses: 1, unwanted: false } as const;
    assert.match(fateOfLoss(plain, limitsOf()).reason ?? "", /its worker died or stalled past its lease$/);
  });

  test("give a held occurrence its turn as rules.ts does", async () => {
    await client.query("BEGIN");
    await fc.assert(
      fc.asyncProperty(row, async ({ dueMs, graceMs, misfire, nominalMs }) => {
        const nominal = nominalMs ?? dueMs;
        await client.query(`DELETE FROM "${schema}".callbacks`);
        await client.query(
          `INSERT INTO "${schema}".callbacks (n, salt, ns, due, created, flags, grace, retries, queue, task, body, recurrence, generation, nominal, held)
           VALUES (1, 1, 1, $1, 0, $2, $3, 0, 'q', 't', '', 7, 1, $4, true)`,
          [dueMs, misfire === "skip" ? 1 : 0, graceMs, nominal],
        );
        await client.query(`SELECT "${schema}".pass_turns(ARRAY[7]::bigint[], NULL)`);
        const { rows } = await client.query(`SELECT due::float8, grace::float8, held FROM "${schema}".callbacks`);
        const turn = turnOfHeld({ dueMs, graceMs, misfire }, nominal);
        assert.deepEqual(rows, [{ due: turn.dueMs, grace: turn.graceMs, held: false }]);
      }),
      { ...RUNS, numRuns: 100 },
    );
    await client.query("ROLLBACK");
  });

  test("write ids and moments as JavaScript does, up to the ends of time", async () => {
    const ids = [1, 27, 35, 36, 27 * 36, 12_345_678, 2 ** 52];
    for (const n of ids) {
      const salt = (n * 7_919) % 2 ** 47;
      const { rows } = await client.query(`SELECT "${schema}".id_of($1, $2) AS id`, [n, salt]);
      assert.equal(rows[0]?.id, idOf(n, salt));
      assert.deepEqual(parseId(idOf(n, salt)), [n, salt]);
      assert.equal(parseRecurrenceId(idOf(n, salt)), undefined);
      assert.equal(parseId(recurrenceId(n, salt.toString(36))), undefined);
    }
    const times = [
      0,
      -1,
      1_700_000_000_123,
      Date.UTC(9999, 11, 31, 23, 59, 59, 999),
      Date.UTC(1, 0, 1) - 59_926_521_600_000 * 0,
    ];
    for (const ms of times) {
      const { rows } = await client.query(`SELECT "${schema}".iso($1) AS iso`, [ms]);
      assert.equal(rows[0]?.iso, new Date(ms).toISOString());
    }
    for (const ms of [8_640_000_000_000_000, -8_640_000_000_000_000]) {
      const { rows } = await client.query(`SELECT "${schema}".iso($1) AS iso`, [ms]);
      assert.equal(rows[0]?.iso, `${ms} ms since 1970`);
    }
  });
});
