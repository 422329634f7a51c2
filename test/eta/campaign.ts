/**
 * `npm run eta -- --broker rabbitmq|redis --messages N`: messages with an eta one hour ahead (100,000), judged, and added to `docs/proof/`.
 *
 *   --warm-up N   --no-record (only print)
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseArgs } from "node:util";
import { checkEta, checkGrowth, type EtaFigures, runEta } from "./run.ts";

const { values } = parseArgs({
  options: {
    broker: { type: "string", default: "redis" },
    messages: { type: "string", default: "100000" },
    "warm-up": { type: "string", default: "40000" },
    "no-record": { type: "boolean", default: false },
  },
});
const FILE = join(import.meta.dirname, "../../docs/proof/eta-messages.json");

type Entry = EtaFigures & {
  readonly commit: string;
  readonly day: string;
  readonly node: string;
  readonly machine: string;
};

test("eta messages", { timeout: 1_800_000 }, async (t) => {
  if (values.broker !== "redis" && values.broker !== "rabbitmq") throw new Error("--broker is redis or rabbitmq");
  const figures = await runEta(t, {
    broker: values.broker,
    messages: Number(values.messages),
    warmUp: Number(values["warm-up"]),
  });
  process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
  checkEta(figures);
  checkGrowth(figures);
  if (values["no-record"]) return;
  const entries = existsSync(FILE) ? (JSON.parse(readFileSync(FILE, "utf8")) as Entry[]) : [];
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  const machine = `${cpus().length} cores, ${cpus()[0]?.model ?? "unknown"}`;
  const day = new Date().toISOString().slice(0, 10);
  const entry: Entry = { ...figures, commit, day, node: process.version, machine };
  const others = entries.filter((each) => each.broker !== figures.broker || each.messages !== figures.messages);
  writeFileSync(FILE, `${JSON.stringify([...others, entry], null, 2)}\n`);
});
