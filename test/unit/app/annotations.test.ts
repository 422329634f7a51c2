import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Lovage } from "../../../src/app/app.ts";
import { readConfig, type SettingsInput } from "../../../src/app/config.ts";

function options(annotations: unknown, name: string) {
  const app = new Lovage("annotated", { taskAnnotations: annotations } as SettingsInput, { env: {} });
  return app.task(name, { queue: "code", priority: 1 }, () => undefined).options;
}

describe("annotations of tasks", () => {
  test("are laid over the code's options: every task, then globs, then the name", () => {
    const annotations = {
      "shop.pay": { priority: 4 },
      "shop.*": { priority: 3, soft_time_limit: 5, queue: "shop" },
      "*": { priority: 2, acksLate: true },
    };
    assert.deepEqual(options(annotations, "shop.pay"), {
      queue: "shop",
      priority: 4,
      acksLate: true,
      softTimeLimit: 5,
    });
    assert.deepEqual(options(annotations, "shop.list"), {
      queue: "shop",
      priority: 3,
      acksLate: true,
      softTimeLimit: 5,
    });
    assert.deepEqual(options(annotations, "mail"), { queue: "code", priority: 2, acksLate: true });
    assert.deepEqual(options([{ a: { priority: 5 } }, { a: { priority: 6 } }], "a"), { queue: "code", priority: 6 });
    assert.deepEqual(options({ b: {} }, "a"), { queue: "code", priority: 1 });
  });

  test("that are no options are named at start", () => {
    assert.throws(() => readConfig({ taskAnnotations: { a: 5 } } as unknown as SettingsInput, {}), {
      message: 'taskAnnotations["a"] must be an object of options, not 5',
    });
    assert.throws(
      () => readConfig({ task_annotations: "all" }, {}),
      /must be an object by the names of tasks, not all/,
    );
  });
});
