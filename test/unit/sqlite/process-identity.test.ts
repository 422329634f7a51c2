import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { endProcess, identify, livenessOf, type ProcessIdentity } from "../../../src/sqlite/process-identity.ts";

const HANG = { timeout: 60_000 };

test("this process finds itself, alive", () => {
  const self = identify(process.pid) as ProcessIdentity;
  assert.equal(self.pid, process.pid);
  assert.equal(livenessOf(self), "alive");
});

test("what never was, or cannot be, is nobody", () => {
  for (const pid of [0, -1, 2 ** 22 + 1, 1.5, Number.NaN]) assert.equal(identify(pid), undefined, String(pid));
});

test("a pid that another process has now is not the one that was meant, and is not ended", HANG, async () => {
  const child = spawn("sleep", ["60"]);
  const identity = identify(child.pid as number) as ProcessIdentity;
  const another = { ...identity, started: `${identity.started}1` };
  assert.equal(livenessOf(another), process.platform === "linux" ? "dead" : "alive");
  if (process.platform === "linux") {
    endProcess(another);
    assert.equal(livenessOf(identity), "alive");
  }
  const exit = once(child, "exit");
  endProcess(identity);
  assert.deepEqual(await exit, [null, "SIGKILL"]);
  assert.equal(livenessOf(identity), "dead");
  endProcess(identity);
});

test("a process of an earlier boot is dead; one of another container cannot be seen from here", (t) => {
  if (process.platform !== "linux") return t.skip("this system tells of no boots");
  const self = identify(process.pid) as ProcessIdentity;
  const [boot = "", namespace = ""] = self.boot.split(" ");
  assert.equal(livenessOf({ ...self, boot: `00000000-0000-0000-0000-000000000000 ${namespace}` }), "dead");
  assert.equal(livenessOf({ ...self, boot: `${boot} pid:[1]` }), "unknown");
  assert.equal(livenessOf({ ...self, boot: "" }), "unknown");
});
