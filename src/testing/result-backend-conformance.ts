/**
 * What every result backend must do, as tests. A backend's own test file calls this, and adds what only it can do.
 *
 * Nothing here waits for time: time passes by `pass`, a test waits for what is told, and where it must show that nothing
 * is told, it waits for something that would have come after it.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import type { ResultDocument } from "../protocol/result.ts";
import type { ResultBackend } from "../results/backend.ts";

export interface ResultBackendUnderTest {
  readonly backend: ResultBackend;
  /** One more handle on the same documents, as another part of the program would open it. */
  again(): Promise<ResultBackend>;
  /** Let so much time pass for the backend: what expires sooner is past. */
  pass(ms: number): Promise<void> | void;
  /** False: what has expired is removed by the server itself, and `sweep` finds nothing. Default true. */
  readonly sweeps?: boolean;
  /** Close the backend, and remove what `open` made. */
  close(): Promise<void>;
}

/** A test that hangs is ended; no test depends on it. */
const HANG = { timeout: 60_000 };
const FOR_EVER = 0;
const MINUTE_MS = 60_000;

/** @param traits.expiryIsReaders how long a document is kept is its reader's to say, and the same for all: nothing is tested of it */
export function resultBackendConformance(
  name: string,
  open: () => Promise<ResultBackendUnderTest>,
  traits: { readonly expiryIsReaders?: boolean } = {},
): void {
  const testOfEachExpiry = traits.expiryIsReaders === true ? () => undefined : test;
  describe(`${name} is a result backend`, HANG, () => {
    let under: ResultBackendUnderTest;
    let backend: ResultBackend;

    before(async () => {
      under = await open();
      backend = under.backend;
    });
    after(() => under.close());

    test("what was stored is read as it was, whatever fields it has", async () => {
      const plain = documentOf({ status: "STARTED", result: '{"pid": 7, "hostname": "a@b"}' });
      const full: ResultDocument = {
        task_id: randomUUID(),
        status: "SUCCESS",
        result: '{"float": 1.0, "big": 123456789012345678901234567890, "nan": NaN, "text": "\\u017elu\\u0165 🐎"}',
        traceback: 'Traceback (most recent call last):\n  File "x.py", line 1\n\tžluť 🐎 \u0000',
        children: [
          [["a", null], null],
          [["b", ["a", null]], [[["c", null], null]]],
        ],
        date_done: "2030-01-01T00:00:00.000000+00:00",
        group_id: "g",
        parent_id: "p",
        name: "demo.foo",
        worker: "w@h",
        retries: 3,
        queue: "default",
        args: "[1.0, NaN]",
        kwargs: '{"__proto__x": null}',
      };

      await backend.store(plain, MINUTE_MS);
      await backend.store(full, FOR_EVER);

      assert.deepEqual(await backend.get(plain.task_id), plain);
      assert.deepEqual(await backend.get(full.task_id), full);
    });

    test("of a task that nothing is known of there is no document", async () => {
      assert.equal(await backend.get(randomUUID()), undefined);
      for (const odd of ["__proto__", "constructor", "%", "*", "a\u0000b", "'; DROP TABLE results; --"]) {
        assert.equal(await backend.get(odd), undefined, odd);
      }
    });

    test("ids are told apart by every character, in any script", async () => {
      const stem = randomUUID();
      // Two normal forms of one word, a case, a NUL, an emoji, a long one.
      const ids = ["é", "e\u0301", "ID", "id", "a", "a\u0000", "a\u0000b", "🐎", " ", "x".repeat(800)].map(
        (end) => `${stem}${end}`,
      );

      await Promise.all(ids.map((task_id, i) => backend.store(documentOf({ task_id, result: String(i) }), MINUTE_MS)));

      for (const [i, id] of ids.entries()) {
        const found = await backend.get(id);
        assert.deepEqual([found?.task_id, found?.result], [id, String(i)]);
      }
    });

    test("a later document replaces an earlier one, and nothing replaces SUCCESS", async () => {
      const id = randomUUID();
      const states = ["STARTED", "RETRY", "halfway", "FAILURE", "REVOKED", "STARTED", "SUCCESS", "REVOKED", "SUCCESS"];
      const seen: (string | undefined)[] = [];

      for (const [i, status] of states.entries()) {
        await backend.store(documentOf({ task_id: id, status, result: String(i) }), MINUTE_MS);
        const found = await backend.get(id);
        seen.push(`${found?.status} ${found?.result}`);
      }

      assert.deepEqual(seen, [
        ...["STARTED 0", "RETRY 1", "halfway 2", "FAILURE 3", "REVOKED 4", "STARTED 5"],
        ...["SUCCESS 6", "SUCCESS 6", "SUCCESS 6"],
      ]);
    });

    test("of two ends stored at once by two handles, a SUCCESS that came first stands", async () => {
      const other = await under.again();
      const ids = Array.from({ length: 50 }, () => randomUUID());

      await Promise.all(
        ids.flatMap((task_id) => [
          backend.store(documentOf({ task_id, status: "SUCCESS" }), MINUTE_MS),
          other.store(documentOf({ task_id, status: "FAILURE" }), MINUTE_MS),
        ]),
      );
      for (const task_id of ids) await other.store(documentOf({ task_id, status: "SUCCESS", result: "2" }), MINUTE_MS);
      for (const task_id of ids) await other.store(documentOf({ task_id, status: "FAILURE" }), MINUTE_MS);

      for (const id of ids) assert.equal((await backend.get(id))?.status, "SUCCESS");
      await other.close();
    });

    testOfEachExpiry("a document is gone for its readers at the moment that it expires, swept or not", async () => {
      const [short, long, always] = [randomUUID(), randomUUID(), randomUUID()];
      await backend.store(documentOf({ task_id: short, status: "SUCCESS" }), 1_000);
      await backend.store(documentOf({ task_id: long }), MINUTE_MS);
      await backend.store(documentOf({ task_id: always }), FOR_EVER);

      await under.pass(1_000);
      const told = await Told.open(backend, short);

      assert.equal(await backend.get(short), undefined);
      assert.notEqual(await backend.get(long), undefined);
      assert.notEqual(await backend.get(always), undefined);
      // Expired is as good as never stored: even a SUCCESS does not stand in the way, and a watch begins with nothing.
      await backend.store(documentOf({ task_id: short, status: "STARTED", result: "9" }), MINUTE_MS);
      assert.deepEqual(await told.take(1), ["STARTED 9"]);
      assert.equal((await backend.get(short))?.status, "STARTED");
      told.stop();
    });

    testOfEachExpiry("each store says anew how long the document is kept", async () => {
      const [longer, shorter] = [randomUUID(), randomUUID()];
      await backend.store(documentOf({ task_id: longer, status: "STARTED" }), 1_000);
      await backend.store(documentOf({ task_id: longer, status: "SUCCESS" }), FOR_EVER);
      await backend.store(documentOf({ task_id: shorter, status: "STARTED" }), FOR_EVER);
      await backend.store(documentOf({ task_id: shorter, status: "SUCCESS" }), 1_000);

      await under.pass(1_000);

      assert.equal((await backend.get(longer))?.status, "SUCCESS");
      assert.equal(await backend.get(shorter), undefined);
    });

    testOfEachExpiry("sweep removes what has expired in steps of at most its limit, and nothing else", async () => {
      await sweepAll(backend);
      const kept = await storeSome(backend, 3, MINUTE_MS);
      const always = await storeSome(backend, 3, FOR_EVER);
      await storeSome(backend, 10, 1_000);
      assert.equal(await backend.sweep(100), 0);

      await under.pass(1_000);

      const swept = under.sweeps === false ? [0, 0] : [4, 6];
      assert.equal(await backend.sweep(0), 0);
      assert.deepEqual([await backend.sweep(4), await backend.sweep(100)], swept);
      assert.equal(await backend.sweep(100), 0);
      for (const id of [...kept, ...always]) assert.notEqual(await backend.get(id), undefined);
    });

    test("what was replaced or forgotten is not swept later", async () => {
      await sweepAll(backend);
      const [replaced, forgotten] = [randomUUID(), randomUUID()];
      await backend.store(documentOf({ task_id: replaced, status: "STARTED" }), 1_000);
      await backend.store(documentOf({ task_id: replaced, status: "SUCCESS" }), FOR_EVER);
      await backend.store(documentOf({ task_id: forgotten }), 1_000);
      await backend.forget(forgotten);
      await under.pass(1_000);

      assert.equal(await backend.sweep(100), 0);
      assert.equal((await backend.get(replaced))?.status, "SUCCESS");
    });

    test("a store removes a little of what has expired, so that nothing grows for ever without a sweep", async () => {
      await sweepAll(backend);
      await storeSome(backend, 10, 1_000);
      await under.pass(1_000);

      await storeSome(backend, 10, MINUTE_MS);

      assert.equal(await backend.sweep(100), 0);
    });

    test("what was forgotten is gone; to forget what is not there is no error; it can be stored anew", async () => {
      const id = randomUUID();
      await backend.store(documentOf({ task_id: id, status: "SUCCESS" }), FOR_EVER);

      await backend.forget(id);
      await backend.forget(id);
      await backend.forget(randomUUID());
      assert.equal(await backend.get(id), undefined);
      await backend.store(documentOf({ task_id: id, status: "FAILURE" }), FOR_EVER);

      assert.equal((await backend.get(id))?.status, "FAILURE");
    });

    test("a watch is told what stands before it is given back, then each change, until it is stopped", async () => {
      const id = randomUUID();
      await backend.store(documentOf({ task_id: id, status: "STARTED" }), MINUTE_MS);

      const told = await Told.open(backend, id);
      assert.deepEqual(told.all, ["STARTED 1"]);
      await backend.store(documentOf({ task_id: id, status: "RETRY" }), MINUTE_MS);
      await backend.store(documentOf({ task_id: randomUUID(), status: "other" }), MINUTE_MS);
      await backend.store(documentOf({ task_id: id, status: "SUCCESS" }), MINUTE_MS);
      await backend.store(documentOf({ task_id: id, status: "too late" }), MINUTE_MS);
      assert.deepEqual(await told.take(3), ["STARTED 1", "RETRY 1", "SUCCESS 1"]);
      await backend.forget(id);
      await backend.store(documentOf({ task_id: id, status: "again" }), MINUTE_MS);
      assert.deepEqual((await told.take(4)).slice(3), ["again 1"]);
      told.stop();
      told.stop();
      const later = await Told.open(backend, id);
      await backend.store(documentOf({ task_id: id, status: "after" }), MINUTE_MS);
      await later.take(2);

      assert.equal(told.all.length, 4, "a stopped watch is told nothing");
      later.stop();
    });

    test("what a watch is told is the whole document", async () => {
      const document = documentOf({ status: "SUCCESS", args: "[1.0]", children: [[["a", null], null]] });
      const heard = Promise.withResolvers<ResultDocument>();
      const watch = await backend.watch(document.task_id, heard.resolve);

      await backend.store(document, MINUTE_MS);

      assert.deepEqual(await heard.promise, document);
      watch.stop();
    });

    test("a change by another handle is told as well", async () => {
      const other = await under.again();
      const id = randomUUID();
      const told = await Told.open(backend, id);

      await other.store(documentOf({ task_id: id, status: "SUCCESS" }), MINUTE_MS);

      assert.deepEqual(await told.take(1), ["SUCCESS 1"]);
      told.stop();
      await other.close();
    });

    test("no change is missed, however store and watch fall together", async () => {
      const ids = Array.from({ length: 200 }, () => randomUUID());
      const store = (task_id: string) => backend.store(documentOf({ task_id, status: "SUCCESS" }), MINUTE_MS);

      const watches = ids.map(async (id, i) => {
        if (i % 2 === 0) void store(id);
        const told = Told.open(backend, id);
        if (i % 2 === 1) void store(id);
        return await told;
      });

      for (const told of await Promise.all(watches)) {
        assert.deepEqual(await told.take(1), ["SUCCESS 1"]);
        told.stop();
      }
    });

    test("a thousand watches at once are each told their own, and two of one task both", async () => {
      const ids = Array.from({ length: 1_000 }, () => randomUUID());
      const watches = await Promise.all([...ids, ...ids.slice(0, 10)].map((id) => Told.open(backend, id)));

      await Promise.all(
        ids.map((task_id, i) =>
          backend.store(documentOf({ task_id, status: "SUCCESS", result: String(i) }), MINUTE_MS),
        ),
      );

      for (const [i, told] of watches.entries()) assert.deepEqual(await told.take(1), [`SUCCESS ${i % 1_000}`]);
      for (const told of watches) told.stop();
    });

    test("one watch that is stopped while it is told leaves the others of its task", async () => {
      const id = randomUUID();
      const heard: string[] = [];
      const first = await backend.watch(id, () => {
        heard.push("first");
        first.stop();
      });
      const second = await Told.open(backend, id);

      await backend.store(documentOf({ task_id: id, status: "STARTED" }), MINUTE_MS);
      await backend.store(documentOf({ task_id: id, status: "SUCCESS" }), MINUTE_MS);

      assert.deepEqual(await second.take(2), ["STARTED 1", "SUCCESS 1"]);
      assert.deepEqual(heard, ["first"]);
      second.stop();
    });

    test("a watch whose listener throws at what stands is refused with what it threw", async () => {
      const id = randomUUID();
      await backend.store(documentOf({ task_id: id, status: "STARTED" }), MINUTE_MS);
      let calls = 0;

      await assert.rejects(
        backend.watch(id, () => {
          calls += 1;
          throw new Error("not ready");
        }),
        /not ready/,
      );
      const told = await Told.open(backend, id);
      await backend.store(documentOf({ task_id: id, status: "again" }), MINUTE_MS);
      await told.take(2);

      assert.equal(calls, 1);
      told.stop();
    });

    test("a result may be a megabyte", async () => {
      const result = JSON.stringify("žluť 🐎 ".repeat(100_000));
      const document = documentOf({ status: "SUCCESS", result });
      const heard = Promise.withResolvers<ResultDocument>();
      const watch = await backend.watch(document.task_id, heard.resolve);

      await backend.store(document, MINUTE_MS);

      assert.ok((await backend.get(document.task_id))?.result === result);
      assert.ok((await heard.promise).result === result);
      watch.stop();
    });

    test("a document is a copy: who changes what was stored or read changes nothing here", async () => {
      const children: unknown[] = [[["a", null], null]];
      const document = documentOf({ children });
      await backend.store(document, MINUTE_MS);

      children.push("changed");
      const read = await backend.get(document.task_id);
      assert.ok(read);
      (read.children as unknown[]).push("changed");

      assert.deepEqual((await backend.get(document.task_id))?.children, [[["a", null], null]]);
    });

    test("what is no result is refused by name, and nothing of it is kept", async () => {
      const id = randomUUID();
      const wrong: [Record<string, unknown>, number, RegExp][] = [
        [{ task_id: "" }, 1, /task id/],
        [{ task_id: 7 }, 1, /task id/],
        [{ task_id: "x\ud800" }, 1, /surrogate/],
        [{ task_id: "x".repeat(1_025) }, 1, /1024/],
        [{ status: "" }, 1, /status/],
        [{ result: undefined }, 1, /result/],
        [{ result: { a: 1 } }, 1, /result/],
        [{ args: 7 }, 1, /args/],
        [{}, -1, /expiresMs/],
        [{}, 0.5, /expiresMs/],
        [{}, Number.POSITIVE_INFINITY, /expiresMs/],
        [{}, Number.NaN, /expiresMs/],
      ];
      for (const [fields, expiresMs, message] of wrong) {
        const document = { ...documentOf({ task_id: id }), ...fields } as ResultDocument;
        await assert.rejects(backend.store(document, expiresMs), { code: "ERR_INVALID_INPUT", message });
      }
      const cyclic: unknown[] = [];
      cyclic.push(cyclic);
      await assert.rejects(backend.store(documentOf({ task_id: id, children: cyclic }), 1), { code: "ERR_ENCODE" });

      assert.equal(await backend.get(id), undefined);
      for (const call of [backend.get(""), backend.forget(""), backend.watch("", () => undefined)]) {
        await assert.rejects(call, { code: "ERR_INVALID_INPUT" });
      }
      await assert.rejects(backend.sweep(-1), { code: "ERR_INVALID_INPUT" });
    });

    test("a closed handle refuses every call and is told nothing more; the others go on", async () => {
      const other = await under.again();
      const id = randomUUID();
      const [theirs, ours] = [await Told.open(other, id), await Told.open(backend, id)];

      await other.close();
      await other.close();
      await backend.store(documentOf({ task_id: id, status: "SUCCESS" }), MINUTE_MS);

      assert.deepEqual(await ours.take(1), ["SUCCESS 1"]);
      assert.deepEqual(theirs.all, []);
      theirs.stop();
      ours.stop();
      for (const call of [
        () => other.get(id),
        () => other.store(documentOf({}), MINUTE_MS),
        () => other.forget(id),
        () => other.sweep(1),
        () => other.watch(id, () => undefined),
      ]) {
        await assert.rejects(call, { code: "ERR_CLOSED" });
      }
    });
  });
}

/** What a watch was told: state and result of each document. */
class Told {
  readonly all: string[] = [];
  #wanted: { readonly count: number; readonly resolve: () => void } | undefined;
  #watch: { stop(): void } | undefined;

  static async open(backend: ResultBackend, taskId: string): Promise<Told> {
    const told = new Told();
    told.#watch = await backend.watch(taskId, ({ status, result }) => {
      told.all.push(`${status} ${result}`);
      if (told.#wanted !== undefined && told.all.length >= told.#wanted.count) told.#wanted.resolve();
    });
    return told;
  }

  /** All that was told, when it is `count` at least. */
  async take(count: number): Promise<readonly string[]> {
    if (this.all.length < count) {
      await new Promise<void>((resolve) => {
        this.#wanted = { count, resolve };
      });
    }
    return this.all;
  }

  stop(): void {
    this.#watch?.stop();
  }
}

function documentOf(fields: Partial<ResultDocument>): ResultDocument {
  return {
    task_id: randomUUID(),
    status: "SUCCESS",
    result: "1",
    traceback: null,
    children: null,
    date_done: null,
    ...fields,
  };
}

async function storeSome(backend: ResultBackend, count: number, expiresMs: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => randomUUID());
  await Promise.all(ids.map((task_id) => backend.store(documentOf({ task_id }), expiresMs)));
  return ids;
}

async function sweepAll(backend: ResultBackend): Promise<void> {
  while ((await backend.sweep(1_000)) > 0);
}
