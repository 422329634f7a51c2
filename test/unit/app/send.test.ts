/** Which option of a call counts, and what goes out by it. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readConfig, type SettingsInput } from "../../../src/app/config.ts";
import { type RunningTask, runInTask, type TaskRequest } from "../../../src/app/context.ts";
import { Queues } from "../../../src/app/queues.ts";
import { type Addressed, type ApplyOptions, addressCall } from "../../../src/app/send.ts";
import type { TaskOptions } from "../../../src/app/task-options.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

const NOW_MS = Date.parse("2030-01-02T03:04:05.678Z");

function address(
  options: ApplyOptions = {},
  { settings = {}, task = {} }: { readonly settings?: SettingsInput; readonly task?: TaskOptions } = {},
): Addressed {
  const config = readConfig(settings, {});
  const clock = new FakeClock({ wallMs: NOW_MS });
  const call = { task: "shop.pay", args: [1], kwargs: { a: 2 } };
  return addressCall(call, options, task, { config, queues: new Queues(config), clock });
}

function within<T>(request: Partial<TaskRequest>, run: () => T): T {
  return runInTask({ request, addChild: () => undefined } as unknown as RunningTask, run);
}

describe("where a call goes", () => {
  const task: TaskOptions = { queue: "task", exchange: "task-e", routingKey: "task-k", priority: 2, deliveryMode: 2 };
  const settings: SettingsInput = {
    taskDefaultQueue: "default",
    taskDefaultPriority: 4,
    taskRoutes: {
      "shop.*": {
        queue: "route",
        exchange: "route-e",
        routing_key: "route-k",
        priority: 3,
        delivery_mode: 1,
        exchange_type: "topic",
      },
    },
  };

  test("the call says first, then the task, then the route, then the app", () => {
    const call: ApplyOptions = {
      queue: "call",
      exchange: "call-e",
      routingKey: "call-k",
      priority: 1,
      deliveryMode: "transient",
    };
    const route = { exchangeType: "topic" };

    const first = address(call, { settings, task });
    assert.deepEqual(first.to, { queue: "call", exchange: "call-e", routingKey: "call-k", deliveryMode: 1, ...route });
    assert.equal(first.message.priority, 1);

    const second = address({}, { settings, task });
    assert.deepEqual(second.to, { queue: "task", exchange: "task-e", routingKey: "task-k", deliveryMode: 2, ...route });
    assert.equal(second.message.priority, 2);

    const third = address({}, { settings });
    assert.deepEqual(third.to, {
      queue: "route",
      exchange: "route-e",
      routingKey: "route-k",
      deliveryMode: 1,
      ...route,
    });
    assert.equal(third.message.priority, 3);

    const last = address({}, { settings: { ...settings, taskRoutes: {} } });
    assert.deepEqual(last.to, { queue: "default" });
    assert.equal(last.message.priority, 4);
    assert.equal(address().message.priority, undefined);
  });

  test("each option counts by itself: a priority of the call leaves the route its queue", () => {
    const { to, message, queue } = address({ priority: 0 }, { settings });
    assert.equal(to.queue, "route");
    assert.equal(queue, "route");
    assert.equal(message.priority, 0);
  });

  test("the queue that serves it is the one that exchange and key lead to, where the app knows it", () => {
    const media: SettingsInput = {
      taskQueues: [
        "celery",
        { name: "video", exchange: { name: "media", type: "topic" }, routingKey: "media.video.#" },
        { name: "image", exchange: { name: "media", type: "topic" }, routingKey: "media.image.#" },
        { name: "keyed", exchange: "d", routingKey: "dk" },
        { name: "heard", exchange: "h", routingKey: "h", bindings: [{ exchange: "fan", exchangeType: "fanout" }] },
      ],
    };
    const served = (options: ApplyOptions) => address(options, { settings: media }).queue;
    assert.equal(served({ exchange: "media", routingKey: "media.image.png" }), "image");
    assert.equal(served({ queue: "video", routingKey: "media.image.png" }), "image");
    assert.equal(served({ queue: "video", routingKey: "media.video.cut" }), "video");
    assert.equal(served({ queue: "video" }), "video");
    assert.equal(served({ exchange: "d", routingKey: "dk" }), "keyed");
    assert.equal(served({ exchange: "fan", routingKey: "any" }), "heard");
    assert.equal(served({ exchange: "unknown", routingKey: "k" }), "celery");
    assert.equal(served({ queue: "keyed", routingKey: "ignored" }), "keyed");
  });

  test("an unknown queue is refused before anything is sent, where none are to be made", () => {
    const closed: SettingsInput = { taskQueues: ["mail"], taskCreateMissingQueues: false };
    assert.equal(address({ queue: "mail" }, { settings: closed }).queue, "mail");
    assert.throws(() => address({}, { settings: closed }), { message: /no queue "celery".*: it has mail/ });
    assert.throws(() => address({ queue: "male" }, { settings: closed }), { message: /did you mean "mail"/ });
  });

  test("the running task's priority is handed on where the app says so, below what anybody says", () => {
    const inherit: SettingsInput = { taskInheritParentPriority: true, taskDefaultPriority: 4 };
    const running: Partial<TaskRequest> = {
      id: "p",
      deliveryInfo: { exchange: "", routingKey: "q", priority: 7, redelivered: false },
    };
    const priority = (options: ApplyOptions, given: SettingsInput, own: TaskOptions = {}) =>
      within(running, () => address(options, { settings: given, task: own }).message.priority);

    assert.equal(priority({}, inherit), 7);
    assert.equal(priority({ priority: 0 }, inherit), 0);
    assert.equal(priority({}, inherit, { priority: 2 }), 2);
    assert.equal(priority({}, { taskDefaultPriority: 4 }), 4);
    assert.equal(address({}, { settings: inherit }).message.priority, 4);
  });

  test("retry and its policy are the call's, else the route's", () => {
    const routed: SettingsInput = {
      taskRoutes: { "*": { queue: "q", retry: false, retry_policy: { max_retries: 1 } } },
    };
    assert.deepEqual(address({}, { settings: routed }).to, {
      queue: "q",
      retry: false,
      retryPolicy: { maxRetries: 1 },
    });
    assert.deepEqual(address({ retry: true, retryPolicy: { intervalStart: 2 } }, { settings: routed }).to, {
      queue: "q",
      retry: true,
      retryPolicy: { intervalStartMs: 2_000 },
    });
    assert.throws(() => address({ retryPolicy: { maxRetries: -1 } }), { code: "ERR_INVALID_CONFIG" });
  });
});

describe("what a call carries", () => {
  test("its own ids, or those of the task that sends it", () => {
    const own = address({ taskId: "t" }).message;
    assert.deepEqual([own.rootId, own.parentId], ["t", undefined]);

    const child = within({ id: "p", rootId: "r" }, () => address().message);
    assert.deepEqual([child.rootId, child.parentId], ["r", "p"]);

    const orphan = within({ id: "p" }, () => address().message);
    assert.deepEqual([orphan.rootId, orphan.parentId], ["p", "p"]);

    const given = within({ id: "p", rootId: "r" }, () => address({ rootId: "r2", parentId: "p2" }).message);
    assert.deepEqual([given.rootId, given.parentId], ["r2", "p2"]);
  });

  test("replyTo only where the call says one: who publishes it fills in its own", () => {
    assert.equal(address().message.replyTo, undefined);
    assert.equal(address({ replyTo: "mine" }).message.replyTo, "mine");
  });

  test("an eta of a countdown from now; none for a countdown of 0", () => {
    assert.equal(address({ countdown: 5 }).message.etaMs, NOW_MS + 5_000);
    assert.equal(address({ countdown: 0 }).message.etaMs, undefined);
    assert.equal(address({ eta: "2030-01-02T03:04:05.678901+00:00" }).message.etaMs, NOW_MS + 1);
    assert.throws(() => address({ countdown: 5, eta: new Date() }), /countdown and eta were both given/);
  });

  test("expires as a duration, a date, or the text of a moment", () => {
    assert.equal(address({ expires: 10 }).message.expiresMs, NOW_MS + 10_000);
    assert.equal(address({ expires: "2h" }).expiresAfterMs, 7_200_000);
    const at = Date.parse("2030-06-01T10:00:00Z");
    for (const expires of [new Date(at), "2030-06-01T10:00:00Z", "20300601T100000Z"]) {
      const { message, expiresAfterMs } = address({ expires });
      assert.equal(message.expiresMs, at);
      assert.equal(expiresAfterMs, undefined);
    }
    assert.equal(address({ expires: "2030-06-01T12:00:00", timezone: "Europe/Berlin" }).message.expiresMs, at);
    assert.equal(address({ expires: "20300601" }).expiresAfterMs, 20_300_601_000, "a number is seconds");
    assert.equal(address({}, { task: { expires: 5 } }).message.expiresMs, NOW_MS + 5_000);
  });

  test("no soft limit beyond the hard one, whoever says them", () => {
    const refused = { code: "ERR_INVALID_INPUT", message: /softTimeLimit \(20 s\) is longer than timeLimit \(10 s\)/ };
    assert.throws(() => address({ softTimeLimit: 20, timeLimit: 10 }), refused);
    assert.throws(() => address({ softTimeLimit: 20 }, { task: { timeLimit: 10 } }), refused);
    assert.equal(address({ softTimeLimit: 10, timeLimit: 10 }).message.softLimitMs, 10_000);
    assert.throws(
      () => readConfig({ taskSoftTimeLimit: 20, taskTimeLimit: 10 }, {}),
      /taskSoftTimeLimit must not be longer/,
    );
  });

  test("no option that is not known: a misspelt countdown would run it at once", () => {
    assert.throws(() => address({ countdwon: 60 } as ApplyOptions), {
      code: "ERR_INVALID_INPUT",
      message: 'a call of shop.pay has no option "countdwon"; did you mean "countdown"?',
    });
    assert.throws(() => address({ routing_key: "k" } as ApplyOptions), /did you mean "routingKey"/);
  });

  test("no priority that AMQP cannot carry", () => {
    for (const priority of [-1, 256, 1.5, Number.NaN, "9" as unknown as number]) {
      assert.throws(() => address({ priority }), { message: /priority must be a whole number from 0 to 255/ });
    }
  });
});
