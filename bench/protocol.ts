/**
 * What one message costs on the wire's side: decoding, encoding, and the JSON reader with and without its short way.
 * Each figure is the median of `ROUNDS` rounds, after one to warm up.
 *
 *     node --conditions=lovage-source bench/protocol.ts
 */
import { decodeBody, decodeTask } from "../src/protocol/decode.ts";
import { encodeTask, newTaskMessage } from "../src/protocol/encode.ts";
import { decodeJson, encodeJson } from "../src/protocol/json.ts";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);

function measure(name: string, times: number, work: () => unknown): void {
  const round = () => {
    const startMs = performance.now();
    for (let i = 0; i < times; i++) work();
    return ((performance.now() - startMs) * 1_000) / times;
  };
  round();
  const median = Array.from({ length: ROUNDS }, round).toSorted((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
  console.log(`${name.padEnd(44)} ${median.toFixed(2).padStart(10)} µs ${(1_000 / median).toFixed(1).padStart(8)} k/s`);
}

const call = { task: "shop.remind", id: "11111111-1111-4111-8111-111111111111", args: ["42", "sms"], kwargs: { n: 3 } };
const message = newTaskMessage(call);
const v2 = encodeTask(message);
const v1 = {
  ...v2,
  headers: {},
  body: Buffer.from(JSON.stringify({ ...call, retries: 0, eta: null, expires: null, utc: true, callbacks: null })),
};

measure("decodeTask, protocol 2", 50_000, () => decodeTask(v2));
measure("decodeTask, protocol 1", 50_000, () => decodeTask(v1));
measure("decodeBody", 50_000, () => decodeBody(message.body));
measure("newTaskMessage", 50_000, () => newTaskMessage(call));
measure("encodeTask", 50_000, () => encodeTask(message));

const small = message.body;
const records = Array.from({ length: 20_000 }, (_, i) => ({
  id: i,
  name: `name ${i}`,
  value: i * 1.1,
  tags: ["a", "b"],
}));
const large = JSON.stringify(records);
/** A NaN sends the text the long way. */
const long = (text: string) => `[${text},NaN]`;

measure(`decodeJson, ${small.length} characters`, 50_000, () => decodeJson(small));
measure("  the long way", 50_000, () => decodeJson(long(small)));
measure("  JSON.parse", 50_000, () => JSON.parse(small));
measure(`decodeJson, ${large.length} characters`, 5, () => decodeJson(large));
measure("  the long way", 5, () => decodeJson(long(large)));
measure("  JSON.parse", 5, () => JSON.parse(large));
measure("encodeJson of the same", 5, () => encodeJson(records));
measure("  JSON.stringify", 5, () => JSON.stringify(records));
