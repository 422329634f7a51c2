import assert from "node:assert/strict";
import { test } from "node:test";
import { Blueprint } from "../../../src/blueprint/blueprint.ts";
import { given } from "../../../src/blueprint/step.ts";
import { silentLogger } from "../../../src/kit/log.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

const start = () => ({});
const hub = { name: "hub", start };
const worker = new Blueprint("worker", {
  steps: [
    { name: "consumer", needs: { pool: { name: "pool" } }, last: true, start },
    { name: "timer", needs: { hub, also: hub }, start },
    { name: "pool", needs: { hub, settings: given("settings") }, start },
    hub,
  ],
  log: silentLogger,
  clock: new FakeClock(),
  stopTimeoutMs: 0,
});

test("the graph as text shows the order, and what each step needs", () => {
  assert.equal(
    worker.graph("text"),
    [
      "worker:",
      "  1. hub",
      "  2. timer     needs hub",
      "  3. pool      needs hub, settings",
      "  4. consumer  needs pool; last",
    ].join("\n"),
  );
});

test("the graph in DOT has an arrow for each need, and draws what is given dashed", () => {
  assert.equal(
    worker.graph("dot"),
    `digraph "worker" {
  rankdir=BT;
  node [shape=box];
  "hub";
  "timer";
  "pool";
  "consumer" [peripheries=2];
  "settings" [style=dashed];
  "timer" -> "hub";
  "pool" -> "hub";
  "pool" -> "settings";
  "consumer" -> "pool";
}`,
  );
});

test("an empty blueprint has a graph too", () => {
  const empty = new Blueprint("x", { steps: [], log: silentLogger, clock: new FakeClock(), stopTimeoutMs: 0 });
  assert.equal(empty.graph("text"), "x:");
  assert.match(empty.graph("dot"), /^digraph "x" \{\n[^"]*\}$/);
});
