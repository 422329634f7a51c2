import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Lovage } from "../../../src/app/app.ts";

describe("an app", () => {
  test("keeps its settings where the command line says nothing", () => {
    const app = new Lovage("a", { broker: "memory://own", taskDefaultQueue: "q" }, { env: {} });

    app.reconfigure({ broker: undefined, backend: "memory://given", schedule: undefined });

    assert.equal(app.config.broker, "memory://own");
    assert.equal(app.config.backend, "memory://given");
    assert.equal(app.config.taskDefaultQueue, "q");
  });

  test("refuses a second task of a name, a task without a handler, and an empty name", () => {
    const app = new Lovage("a", {}, { env: {} });
    app.task("one", () => 1);

    assert.throws(() => app.task("one", () => 2), { code: "ERR_DUPLICATE_TASK", message: /"one"/ });
    assert.throws(() => app.task("two", {} as never), { code: "ERR_INVALID_INPUT", message: /"two" has no handler/ });
    assert.throws(() => app.task("", () => 1), { code: "ERR_INVALID_INPUT" });
    assert.throws(() => new Lovage(""), { code: "ERR_INVALID_INPUT" });
  });

  test("a name like one of Object's own is a name that nobody registered", () => {
    const app = new Lovage("a", {}, { env: {} });

    assert.equal(app.registry.get("constructor"), undefined);
    assert.equal(app.registry.get("__proto__"), undefined);
  });

  test("opens nothing until it is used, and again after it was closed", async () => {
    const app = new Lovage("a", { broker: "memory://app-test" }, { env: {} });
    const task = app.task("t", () => 1);
    await app.close();

    await task.delay();
    await app.close();
    await task.delay();

    assert.equal(await (await app.producer.connection()).depth("celery"), 2);
    await app.close();
  });

  test("a countdown and an eta together are refused: one of them is meant", async () => {
    await using app = new Lovage("a", { broker: "memory://app-test-2" }, { env: {} });
    const task = app.task("t", () => 1);

    await assert.rejects(task.applyAsync([], { countdown: 5, eta: new Date() }), { code: "ERR_INVALID_INPUT" });
    await assert.rejects(task.callAfter(1_700_000_000_000, []), /countdown is in seconds; for a moment use eta/);
    await assert.rejects(task.callAt("2027-03-01T09:00", []), { code: "ERR_INVALID_INPUT" });
    await assert.rejects(task.callAfter(1, [], { key: "" }), /key is empty/);
  });

  test("asks for a result where none are kept are refused, with what to set", async () => {
    await using app = new Lovage("a", { broker: "amqp://localhost" }, { env: {} });

    await assert.rejects(app.result("x").get({ timeout: 1 }), {
      code: "ERR_RESULTS_DISABLED",
      message: /LOVAGE_RESULT_BACKEND/,
    });
  });
});
