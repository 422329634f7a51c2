/** Every case of the poison corpus, as the decoder sees it: refused with the code that its file names, or read. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeTask } from "../../../src/protocol/decode.ts";
import { poisonOf, readCorpus } from "../../poison/corpus.ts";

/** Refused by who knows the tasks. */
const LATER = new Set(["ERR_UNKNOWN_TASK"]);

describe("the poison corpus", () => {
  const cases = readCorpus().filter((each) => each.raw === undefined);

  test("has every case of its list, each once", () => {
    const ids = readCorpus().map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    assert.ok(ids.length > 100, `${ids.length} cases`);
  });

  for (const each of cases) {
    const refusal = each.expect.quarantined;
    test(`${each.id}: ${each.what}`, () => {
      const { message } = poisonOf(each, "q", Date.now());
      const decoded = decodeTask(message);
      if (refusal !== undefined && !LATER.has(refusal)) {
        assert.ok(!decoded.ok, "it was read");
        assert.equal(decoded.refusal.code, refusal, decoded.refusal.reason);
        assert.ok(decoded.refusal.reason.length < 2_048, "one line of 2 KiB at most");
        assert.doesNotMatch(decoded.refusal.reason, /[\n\0]/);
      } else {
        assert.ok(decoded.ok, decoded.ok ? "" : `${decoded.refusal.code}: ${decoded.refusal.reason}`);
      }
      assert.equal(({} as { polluted?: unknown }).polluted, undefined);
    });
  }
});
