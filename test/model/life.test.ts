/**
 * Every life that a callback can have with two and with three workers, as far as a few faults lead: each is searched, and none breaks a promise.
 * Then the same with stores and workers that are wrong in one way each: every one of them must be found out.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DEFAULT_LIMITS } from "../../src/schedule/limits.ts";
import { type Faults, type LifeOptions, lifeModel } from "./life-model.ts";
import { type LifeStore, PLAIN, type Profile, type Row, UNIT_MS } from "./life-store.ts";
import { explore, type Finding } from "./search.ts";

const FAULTS: Faults = { crashes: 2, lapses: 2, backwardSteps: 1, cancels: 1, lostAnswers: 0, releases: 0 };
/** One of each kind. */
const ONE_EACH: Faults = { crashes: 1, lapses: 1, backwardSteps: 1, cancels: 1, lostAnswers: 1, releases: 1 };

/** Every state in which a callback may end, with the search in which it must have been seen. */
const searches: readonly {
  readonly name: string;
  readonly workers: number;
  readonly faults: Faults;
  readonly profile?: Partial<Profile>;
  readonly ends: readonly Row["state"][];
}[] = [
  { name: "two workers", workers: 2, faults: FAULTS, ends: ["succeeded", "cancelled", "stopped"] },
  { name: "three workers", workers: 3, faults: FAULTS, ends: ["succeeded", "cancelled", "stopped"] },
  {
    name: "two workers, whose answers may be lost, and who may give back what they claimed",
    workers: 2,
    faults: ONE_EACH,
    ends: ["succeeded", "cancelled", "stopped"],
  },
  {
    name: "an abort is asked for, and the limits are near",
    workers: 2,
    faults: { ...FAULTS, lapses: 1 },
    profile: { abort: true, limits: { ...DEFAULT_LIMITS, crashLimit: 1, lostLimit: 2 } },
    ends: ["succeeded", "cancelled", "stopped", "dead"],
  },
  {
    name: "it runs at most once",
    workers: 2,
    faults: { ...FAULTS, lapses: 1, lostAnswers: 1, releases: 1 },
    profile: { onLost: "fail" },
    ends: ["succeeded", "cancelled", "stopped", "failed"],
  },
  {
    name: "it expires, or is skipped when it is late",
    workers: 2,
    faults: { ...FAULTS, crashes: 1, lapses: 1 },
    profile: { misfire: "skip", expiresMs: 3 * UNIT_MS },
    ends: ["succeeded", "cancelled", "stopped", "expired", "skipped", "failed"],
  },
];

describe("the life of a callback", () => {
  for (const { name, workers, faults, profile, ends } of searches) {
    test(`keeps every promise, and ends, with ${name}`, (t) => {
      const found = explore(lifeModel({ workers, faults, profile: { ...PLAIN, ...profile } }));

      t.diagnostic(`${found.states} states, ${found.steps} steps`);
      assert.equal(found.finding && told(found.finding), undefined);
      const seen = new Set(found.seen.map(({ row }) => row.state));
      assert.deepEqual(
        ends.filter((end) => !seen.has(end)),
        [],
        "a search that never sees an end proves nothing of it",
      );
    });
  }
});

/** One operation replaced by a wrong one. */
type Wrong = (honest: LifeStore) => Partial<LifeStore>;

const wrongStores: Readonly<
  Record<string, { readonly store: Wrong; readonly what: RegExp } & Partial<Omit<LifeOptions, "store">>>
> = {
  "cancel says cancelled after an expiry": {
    store: (honest) => ({
      cancel: (row) => ({ ...honest.cancel(row), ...(row.state === "waiting" ? { answer: "cancelled" } : {}) }),
    }),
    what: /cancelled for one that had started/,
  },
  "no claim write": {
    store: (honest) => ({ claim: (row, nowMs) => ({ row, token: honest.claim(row, nowMs).token }) }),
    what: /without a committed claim/,
  },
  "settle checks the state only": {
    store: (honest) => ({ settle: (row, _token, end, nowMs) => honest.settle(row, row.token, end, nowMs) }),
    what: /an old token \(1\) changed a row whose token is 2/,
  },
  "settle checks the token only": {
    store: () => ({
      settle: (row, token, end) => (row.token === token && end === "succeeded" ? { ...row, state: end } : row),
    }),
    what: /had ended as stopped was changed/,
  },
  "renew checks the state only": {
    store: (honest) => ({ renew: (row) => honest.renew(row, row.token) }),
    what: /an old token/,
  },
  "release checks the state only": {
    store: (honest) => ({ release: (row) => honest.release(row, row.token) }),
    what: /an old token/,
    faults: { ...FAULTS, releases: 1 },
  },
  "release leaves the attempt counted": {
    store: (honest) => ({
      release: (row, token) => {
        const released = honest.release(row, token);
        return released === row ? row : { ...released, attempts: row.attempts };
      },
    }),
    what: /scheduled after 1 attempts/,
    faults: { ...FAULTS, releases: 1 },
  },
  "recovery makes it scheduled again": {
    store: (honest) => ({
      recover: (row, nowMs) => {
        const recovered = honest.recover(row, nowMs);
        return recovered === row ? row : { ...recovered, state: "scheduled", attempts: 0 };
      },
    }),
    what: /scheduled, and has started|cancelled for one that had started/,
  },
  "recovery forgets the token": {
    store: (honest) => ({
      recover: (row, nowMs) => {
        const recovered = honest.recover(row, nowMs);
        return recovered === row ? row : { ...recovered, token: 0 };
      },
    }),
    what: /token went back from 1 to 0/,
  },
  "nobody recovers what was lost": {
    store: () => ({ recover: (row) => row }),
    what: /nothing happens any more, and it has not ended/,
  },
  "recovery gives back what has not lapsed": {
    store: (honest) => ({
      recover: (row, nowMs) => (row.state === "running" ? honest.recover({ ...row, lapsed: true }, nowMs) : row),
    }),
    what: /after its cancel was answered with stopped/,
  },
  "a claim does not look at the due time": {
    store: (honest) => ({ claim: (row, nowMs) => honest.claim(row, Math.max(nowMs, row.dueMs)) }),
    what: /claimed before it was due/,
  },
  "a claim takes what was stopped": {
    store: (honest) => ({
      claim: (row, nowMs) => honest.claim(row.state === "stopped" ? { ...row, state: "waiting" } : row, nowMs),
    }),
    what: /had ended as stopped was changed/,
  },
  "cancel ends what runs": {
    store: (honest) => ({
      cancel: (row) =>
        row.state === "running" ? { row: { ...row, state: "cancelled" }, answer: "cancelled" } : honest.cancel(row),
    }),
    what: /cancelled after 1 attempts/,
  },
  "cancel answers by what it saw before": {
    store: () => ({ cancelByEarlierLook: true }),
    what: /after its cancel was answered with cancelled|cancelled for one that had started/,
  },
};

describe("a store that is wrong is found out", () => {
  for (const [name, { store, what, ...options }] of Object.entries(wrongStores)) {
    test(name, (t) => {
      const mutant = (honest: LifeStore) => ({ ...honest, ...store(honest) });
      refused(t, { workers: 2, faults: FAULTS, ...options, store: mutant }, what);
    });
  }
});

describe("a worker that is wrong is found out", () => {
  test("it starts what it claimed long ago", (t) => {
    refused(
      t,
      { workers: 2, faults: FAULTS, worker: { trustsLateClaims: true } },
      /after its cancel was answered with stopped/,
    );
  });

  test("it asks whether its claim still stands, and starts however late the answer comes", (t) => {
    refused(
      t,
      { workers: 2, faults: FAULTS, worker: { trustsLateRenewals: true } },
      /after its cancel was answered with stopped/,
    );
  });

  test("it gives back what it has started", (t) => {
    refused(t, { workers: 2, faults: FAULTS, worker: { releasesAfterStart: true } }, /scheduled, and has started/);
  });
});

function refused(t: { diagnostic(message: string): void }, options: LifeOptions, what: RegExp): void {
  const { finding } = explore(lifeModel(options));
  assert.ok(finding, "nothing wrong was found in it");
  t.diagnostic(told(finding));
  assert.match(finding.what, what);
}

function told({ what, trace }: Finding): string {
  return `${what}: ${trace.join(" > ")}`;
}
