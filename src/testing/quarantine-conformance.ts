/** What every quarantine must do, as tests. A quarantine's own test file calls this, and adds what only it can do. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { afterEach, describe, test } from "node:test";
import type { Clock } from "../kit/clock.ts";
import type { Logger } from "../kit/log.ts";
import type { QuarantineLimits } from "../quarantine/limits.ts";
import type { NewQuarantined, Quarantine } from "../quarantine/quarantine.ts";
import { FakeClock } from "./fake-clock.ts";

export interface QuarantineOpenOptions {
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn">;
  readonly limits?: Partial<QuarantineLimits>;
}

export interface QuarantineUnderTest {
  readonly quarantine: Quarantine;
  /** Close it, and remove what `open` made. */
  close(): Promise<void>;
}

/** A test that hangs is ended; no test depends on it. */
const HANG = { timeout: 60_000 };
const MIB = 1024 * 1024;

/** @param open makes an empty quarantine */
export function quarantineConformance(
  name: string,
  open: (options: QuarantineOpenOptions) => Promise<QuarantineUnderTest>,
): void {
  describe(`${name} is a quarantine`, HANG, () => {
    const opened: QuarantineUnderTest[] = [];
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((each) => each.close()));
    });

    async function fresh(limits?: Partial<QuarantineLimits>) {
      const clock = new FakeClock();
      const warnings: string[] = [];
      const log = { warn: (message: string) => void warnings.push(message) };
      const under = await open({ clock, log, ...(limits === undefined ? {} : { limits }) });
      opened.push(under);
      return { quarantine: under.quarantine, clock, warnings };
    }

    test("what is added is read as it was, with the moment that it came", async () => {
      const { quarantine, clock } = await fresh();
      const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const message: NewQuarantined = {
        code: "ERR_UNKNOWN_TASK",
        reason: "no task of the name žluť 🐎",
        queue: "fronta-ů",
        task: "demo.žluť",
        taskId: "id-🐎",
        properties: { contentType: "application/json", deliveryMode: 2, priority: 0, correlationId: "ů" },
        headers: { lang: "py", retries: 0, eta: null, timelimit: [null, 1.5], stamps: { ключ: ["a", { deep: true }] } },
        body: all,
      };

      const id = await quarantine.add(message);
      const record = await quarantine.get(id);

      assert.ok(record);
      const { headers, body, ...rest } = record;
      assert.deepEqual(rest, {
        id,
        arrivedMs: clock.wallMs(),
        code: message.code,
        reason: message.reason,
        queue: message.queue,
        task: message.task,
        taskId: message.taskId,
        properties: message.properties,
        truncated: false,
        bodyBytes: 256,
      });
      assert.deepEqual({ ...headers }, message.headers);
      assert.ok(all.equals(body));
    });

    test("a message of which nothing could be read is kept too", async () => {
      const { quarantine } = await fresh();
      const id = await quarantine.add(messageOf({ queue: "", body: new Uint8Array(0), reason: "" }));
      const record = await quarantine.get(id);

      assert.equal(record?.task, undefined);
      assert.ok(record !== undefined && !("task" in record) && !("taskId" in record));
      assert.deepEqual([record.body.byteLength, record.bodyBytes, record.truncated], [0, 0, false]);
    });

    test("the record is a copy: the broker's buffer may be used again, and a reader may change what it got", async () => {
      const { quarantine } = await fresh();
      const body = Buffer.from("as it was");
      const headers: Record<string, unknown> = { list: [1] };
      const id = await quarantine.add(messageOf({ body, headers }));

      body.fill(0);
      headers.list = "changed";
      const first = await quarantine.get(id);
      assert.ok(first);
      first.body.fill(0);
      (first.headers as Record<string, unknown>).list = "changed";

      const record = await quarantine.get(id);
      assert.equal(Buffer.from(record?.body ?? []).toString(), "as it was");
      assert.deepEqual(record?.headers.list, [1]);
    });

    test("headers that are no JSON become plain data, and none of them can stop the quarantine", async () => {
      const { quarantine } = await fresh();
      const cyclic: Record<string, unknown> = { name: "x" };
      cyclic.self = cyclic;
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      let deep: unknown = "bottom";
      for (let i = 0; i < 10_000; i++) deep = [deep];
      const headers: Record<string, unknown> = {
        bytes: Buffer.from([0, 255, 10]),
        view: new Uint8Array([0, 255, 10]),
        big: 2n ** 70n,
        small: -7n,
        moment: new Date(0),
        noMoment: new Date(Number.NaN),
        nan: Number.NaN,
        absent: undefined,
        nothing: null,
        list: [undefined, 1n, Buffer.from("é")],
        cyclic,
        deep,
        proxy,
        get broken(): string {
          throw new Error("not today");
        },
        run: () => 1,
        symbol: Symbol("s"),
        map: new Map([["a", 1]]),
        "": "empty name",
        nested: JSON.parse('{"__proto__": {"polluted": 1}}'),
        lone: "a\ud800",
        broker: "amqp://guest:geheim@host/",
        password: "geheim",
      };
      Object.setPrototypeOf(headers, null);
      Object.defineProperty(headers, "__proto__", { value: { polluted: 1 }, enumerable: true });

      const id = await quarantine.add(messageOf({ headers }));
      const kept = (await quarantine.get(id))?.headers;

      assert.ok(kept);
      assert.equal(Object.getPrototypeOf(kept), null);
      const { cyclic: keptCyclic, deep: keptDeep, proxy: keptProxy, broken, run, ...rest } = kept;
      assert.deepEqual(rest, {
        bytes: { base64: "AP8K" },
        view: { base64: "AP8K" },
        big: String(2n ** 70n),
        small: "-7",
        moment: "1970-01-01T00:00:00.000Z",
        noMoment: "an invalid Date",
        nan: "NaN",
        nothing: null,
        list: [null, "1", { base64: "w6k=" }],
        symbol: "Symbol(s)",
        map: [["a", 1]],
        "": "empty name",
        nested: { "[__proto__]": { polluted: 1 } },
        "[__proto__]": { polluted: 1 },
        lone: "a\ufffd",
        broker: "amqp://guest:**@host/",
        password: "**",
      });
      assert.deepEqual(keptCyclic, { name: "x", self: "[cyclic]" });
      assert.match(JSON.stringify(keptDeep), /^\[{5,64}"\[nested too deep\]"\]{5,64}$/);
      assert.match(String(keptProxy), /cannot be read/);
      assert.match(String(broken), /cannot be read: not today/);
      assert.equal(typeof run, "string");
      assert.equal((Object.prototype as { polluted?: unknown }).polluted, undefined);
    });

    test("headers of any size are kept in part, and say so", async () => {
      const { quarantine } = await fresh();
      const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`header-${i}`, i]));
      const long = { text: "🐎".repeat(1_000_000), bytes: Buffer.alloc(5_000_000), after: "still here" };
      const numbers = { numbers: Array.from({ length: 1_000_000 }, (_, i) => i) };

      const texts: string[] = [];
      for (const headers of [many, long, numbers]) {
        const record = await quarantine.get(await quarantine.add(messageOf({ headers })));
        texts.push(JSON.stringify(record?.headers));
      }

      for (const text of texts) assert.ok(text.length < 200_000, String(text.length));
      assert.match(texts[0] ?? "", /"header-0":0.*"…":"\d+ more"/);
      assert.match(texts[1] ?? "", /2000000 characters.*"bytes":5000000.*still here/);
      assert.match(texts[2] ?? "", /^\{"numbers":\[0,1,2.*… \d+ more/);
    });

    test("a reason and names of any text are one bounded line without a password", async () => {
      const { quarantine } = await fresh();
      const id = await quarantine.add(
        messageOf({
          reason: `line\n\u001b[31mred amqp://guest:geheim@host/ ${"x ".repeat(10_000)}`,
          task: "t\u0000\ud800".repeat(1_000),
          queue: "q".repeat(5_000),
          taskId: "redis://:geheim@host/0",
        }),
      );
      const record = await quarantine.get(id);

      assert.ok(record);
      assert.match(record.reason, /^line\\n\\u\{1b\}\[31mred amqp:\/\/guest:\*\*@host\/ x x .*…/);
      assert.ok(record.reason.length <= 2_048);
      assert.ok((record.task?.length ?? 0) <= 1_024 && record.queue.length <= 1_024);
      assert.ok(record.task?.startsWith("t\u0000\ufffd"));
      assert.doesNotMatch(JSON.stringify(record), /geheim/);
    });

    test("of a body above the limit the beginning is kept, with its length and the sum of the whole", async () => {
      const { quarantine } = await fresh();
      const whole = Buffer.alloc(MIB, "abc");
      const longer = Buffer.alloc(MIB + 1, "abc");

      const [first, second] = [
        await quarantine.get(await quarantine.add(messageOf({ body: whole, reason: "r" }))),
        await quarantine.get(await quarantine.add(messageOf({ body: longer, reason: "r" }))),
      ];

      assert.ok(first && second);
      assert.ok(whole.equals(first.body));
      assert.deepEqual([first.truncated, first.bodyBytes, first.reason], [false, MIB, "r"]);
      assert.ok(longer.subarray(0, MIB).equals(second.body));
      assert.deepEqual([second.truncated, second.bodyBytes], [true, MIB + 1]);
      const sum = createHash("sha256").update(longer).digest("hex");
      assert.equal(
        second.reason,
        `r (of its body of ${MIB + 1} bytes, sha256 ${sum}, the first ${MIB} bytes are kept)`,
      );
    });

    test("ids sort in the order of arrival; a list begins with the newest, a page where the one before it ended", async () => {
      const { quarantine, clock } = await fresh();
      const ids: string[] = [];
      for (let i = 0; i < 25; i++) {
        ids.push(await quarantine.add(messageOf({ reason: String(i) })));
        // The wall may step back; the order stays that of arrival.
        if (i === 12) clock.stepWall(-3_600_000);
        else await clock.advance(1);
      }

      assert.deepEqual(ids, ids.toSorted());
      assert.equal(new Set(ids).size, 25);
      const pages: string[][] = [];
      let before: string | undefined;
      do {
        const page = await quarantine.list({ limit: 10, ...(before === undefined ? {} : { before }) });
        pages.push(page.map((record) => record.id));
        before = page.at(-1)?.id;
      } while (before !== undefined);
      assert.deepEqual(
        pages.map((page) => page.length),
        [10, 10, 5, 0],
      );
      assert.deepEqual(pages.flat(), ids.toReversed());
      assert.deepEqual(await quarantine.list({ limit: 0 }), []);
      assert.equal((await quarantine.list({ limit: 1_000_000 })).length, 25);
    });

    test("a page goes on where it ended though its last record was dropped meanwhile", async () => {
      const { quarantine } = await fresh();
      const ids = await addSome(quarantine, 4);
      const [third] = (await quarantine.list({ limit: 2 })).slice(-1);
      assert.ok(third);
      assert.equal(third.id, ids[2]);

      await quarantine.drop(third.id);
      const rest = await quarantine.list({ limit: 10, before: third.id });

      assert.deepEqual(
        rest.map((record) => record.id),
        [ids[1], ids[0]],
      );
    });

    test("what is dropped is gone, once; ids that are none name nothing", async () => {
      const { quarantine } = await fresh();
      const [first, second] = await addSome(quarantine, 2);
      assert.ok(first && second);
      assert.equal(await quarantine.count(), 2);

      assert.equal(await quarantine.drop(first), true);
      assert.equal(await quarantine.drop(first), false);

      assert.equal(await quarantine.get(first), undefined);
      assert.equal(await quarantine.count(), 1);
      for (const odd of ["", "0", "1", "-1", "x", `${second} `, "9".repeat(12), "9".repeat(40), "__proto__", "0x1"]) {
        assert.equal(await quarantine.get(odd), undefined, odd);
        assert.equal(await quarantine.drop(odd), false, odd);
      }
      assert.equal((await quarantine.list({ limit: 10 })).length, 1);
    });

    test("a page that cannot be is refused by name", async () => {
      const { quarantine } = await fresh();
      for (const limit of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        await assert.rejects(quarantine.list({ limit }), { code: "ERR_INVALID_INPUT", message: /limit/ });
      }
      for (const before of ["", "x", "1"]) {
        await assert.rejects(quarantine.list({ limit: 1, before }), { code: "ERR_INVALID_INPUT", message: /before/ });
      }
    });

    test("past its number of records the oldest go, and the log says how many", async () => {
      const { quarantine, warnings } = await fresh({ maxRecords: 3 });
      const ids = await addSome(quarantine, 3);
      assert.deepEqual(warnings, []);

      ids.push(...(await addSome(quarantine, 2)));

      assert.equal(await quarantine.count(), 3);
      assert.deepEqual((await quarantine.list({ limit: 10 })).map(({ id }) => id).toReversed(), ids.slice(2));
      assert.equal(warnings.length, 2);
      assert.match(warnings[1] ?? "", /3 records.*1 record .* now and 2 records .* so far/);
    });

    test("past its bytes the oldest bodies go first, with their sums; then the oldest records", async () => {
      const { quarantine, warnings } = await fresh({ maxBytes: 10_000, maxBodyBytes: 4_000 });
      const body = Buffer.alloc(4_000, "x");
      const ids: string[] = [];
      for (let i = 0; i < 3; i++) ids.push(await quarantine.add(messageOf({ body, reason: "r" })));

      const [first, second, third] = await Promise.all(ids.map((id) => quarantine.get(id)));
      assert.deepEqual(
        [first, second, third].map((record) => record?.body.byteLength),
        [0, 4_000, 4_000],
      );
      const sum = createHash("sha256").update(body).digest("hex");
      assert.deepEqual([first?.truncated, first?.bodyBytes], [true, 4_000]);
      assert.equal(first?.reason, `r (nothing of its body of 4000 bytes, sha256 ${sum}, is kept)`);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? "", /10000 bytes.*0 records and the body of 1 more now/);

      // Records without a body, but large: now records must go, and the newest stays whole.
      for (let i = 0; i < 8; i++) {
        ids.push(await quarantine.add(messageOf({ headers: { text: "y".repeat(3_000) }, body: new Uint8Array(0) })));
      }
      const left = await quarantine.list({ limit: 100 });
      assert.ok(left.length >= 2 && left.length <= 3, String(left.length));
      assert.deepEqual(
        left.map(({ id }) => id),
        ids.toReversed().slice(0, left.length),
      );
      assert.match(warnings.at(-1) ?? "", /1 record .* now and \d+ records and the bodies of 3 more so far/);
    });

    test("what was dropped by hand makes room as well", async () => {
      const { quarantine, warnings } = await fresh({ maxBytes: 10_000, maxBodyBytes: 4_000 });
      for (let i = 0; i < 20; i++) {
        const id = await quarantine.add(messageOf({ body: Buffer.alloc(4_000) }));
        assert.equal(await quarantine.drop(id), true);
      }
      assert.deepEqual([await quarantine.count(), warnings], [0, []]);
    });

    test("many at once are all kept", async () => {
      const { quarantine } = await fresh();
      const ids = await Promise.all(
        Array.from({ length: 500 }, (_, i) => quarantine.add(messageOf({ reason: String(i) }))),
      );

      assert.equal(new Set(ids).size, 500);
      assert.equal(await quarantine.count(), 500);
      for (const [i, id] of ids.entries()) assert.equal((await quarantine.get(id))?.reason, String(i));
    });

    test("limits that cannot be are refused by name", async () => {
      for (const limits of [
        { maxRecords: 0 },
        { maxBodyBytes: -1 },
        { maxBytes: 5, maxBodyBytes: 6 },
        { maxRecords: 0.5 },
      ]) {
        await assert.rejects(fresh(limits), { code: "ERR_INVALID_INPUT", message: /quarantine/ });
      }
    });

    test("a closed one refuses every call, and closes twice", async () => {
      const { quarantine } = await fresh();
      const id = await quarantine.add(messageOf({}));
      await quarantine.close();
      await quarantine.close();

      for (const call of [
        () => quarantine.add(messageOf({})),
        () => quarantine.list({ limit: 1 }),
        () => quarantine.get(id),
        () => quarantine.drop(id),
        () => quarantine.count(),
      ]) {
        await assert.rejects(call, { code: "ERR_CLOSED" });
      }
    });
  });
}

function messageOf(fields: Partial<NewQuarantined>): NewQuarantined {
  return {
    code: "ERR_PROTO",
    reason: "it is no task message",
    queue: "default",
    properties: {},
    headers: {},
    body: Buffer.from("x"),
    ...fields,
  };
}

async function addSome(quarantine: Quarantine, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(await quarantine.add(messageOf({ reason: String(i) })));
  return ids;
}
