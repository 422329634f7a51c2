import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeBody } from "../../../src/protocol/decode.ts";
import { encodeBody } from "../../../src/protocol/encode.ts";
import { NO_EMBED, readEmbed, readSignature } from "../../../src/protocol/signature.ts";
import { code } from "./coded.ts";

const ADD = {
  task: "proj.add",
  args: [1],
  kwargs: { a: 2 },
  options: { queue: "q", task_id: "x" },
  subtask_type: null,
  immutable: true,
};

describe("readSignature", () => {
  test("reads what Celery writes, and passes over keys that Celery does not define", () => {
    assert.deepEqual(readSignature({ ...ADD, chord_size: 3, unknown: 1 }, "chord"), { ...ADD, chord_size: 3 });
    assert.deepEqual(readSignature({ ...ADD, chord_size: null }, "chord"), ADD);
  });

  test("fills in what is missing or null", () => {
    const plain = { task: "t", args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
    assert.deepEqual(readSignature({ task: "t" }, "callbacks[0]"), plain);
    assert.deepEqual(
      readSignature({ task: "t", args: null, kwargs: null, options: null, immutable: null }, "x"),
      plain,
    );
  });

  for (const [what, value, message] of [
    ["text", "proj.add", /^chain\[2\] is "proj.add"; a signature was expected$/],
    ["a list", [ADD], /^chain\[2\] is an array of 1/],
    ["no task", {}, /^chain\[2\]\.task undefined is not text/],
    ["a task of two lines", { task: "a\nb" }, /characters that cannot be shown/],
    ["args that are an object", { task: "t", args: {} }, /^chain\[2\]\.args is an object; an array/],
    ["kwargs that are a list", { task: "t", kwargs: [] }, /^chain\[2\]\.kwargs is an array of 0; an object/],
    ["options that are text", { task: "t", options: "x" }, /^chain\[2\]\.options is "x"/],
    ["a subtask_type that is a number", { task: "t", subtask_type: 1 }, /^chain\[2\]\.subtask_type is 1/],
    ["a negative chord size", { task: "t", chord_size: -1 }, /^chain\[2\]\.chord_size is -1/],
    ["a huge chord size", { task: "t", chord_size: 1e300 }, /chord_size is 1e\+300/],
  ] as [string, unknown, RegExp][]) {
    test(`refuses ${what}`, () => {
      assert.throws(() => readSignature(value, "chain[2]"), code("ERR_CANVAS", message));
    });
  }
});

describe("readEmbed", () => {
  test("takes null, nothing and {} for nothing", () => {
    for (const nothing of [null, undefined, {}, { callbacks: null, errbacks: null, chain: null, chord: null }]) {
      assert.deepEqual(readEmbed(nothing), NO_EMBED);
    }
  });

  test("takes a single link without its list", () => {
    assert.deepEqual(readEmbed({ callbacks: ADD }).callbacks, [ADD]);
  });

  test("refuses what is no list of signatures, and a list that is too long", () => {
    assert.throws(() => readEmbed("x"), code("ERR_BODY_SHAPE", /the third element of the body is "x"/));
    assert.throws(() => readEmbed([]), code("ERR_BODY_SHAPE"));
    assert.throws(() => readEmbed({ errbacks: "proj.add" }), code("ERR_CANVAS", /^errbacks is "proj.add"; a list/));
    assert.throws(() => readEmbed({ chord: [ADD] }), code("ERR_CANVAS", /^chord is an array/));
    assert.throws(() => readEmbed({ chain: [ADD, null] }), code("ERR_CANVAS", /^chain\[1\] is null/));
    assert.throws(
      () => readEmbed({ chain: [ADD, ADD, ADD] }, 2),
      code("ERR_CANVAS", /chain has 3 signatures; the limit is 2/),
    );
  });

  test("a body with links comes back as it went", () => {
    const embed = {
      callbacks: [ADD],
      errbacks: null,
      chain: [ADD, { ...ADD, args: [new Date(0), 10n ** 20n] }],
      chord: ADD,
    };
    assert.deepEqual(decodeBody(encodeBody([1], { k: "v" }, embed)), { args: [1], kwargs: { k: "v" }, embed });
  });
});
