import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Route, type Routes, routeOf, routesRule } from "../../../src/app/router.ts";

function read(routes: Routes) {
  return routesRule(routes, "taskRoutes");
}

function route(routes: Routes, task: string, options: Readonly<Record<string, unknown>> = {}): Route | undefined {
  return routeOf(read(routes), { task, args: [1], kwargs: { a: 2 }, options });
}

function problemsOf(routes: unknown): readonly string[] {
  try {
    routesRule(routes, "taskRoutes");
  } catch (error) {
    return (error as { problems: readonly string[] }).problems;
  }
  return [];
}

describe("the routes of an app", () => {
  test("find a task by its exact name, then by globs in order", () => {
    const routes: Routes = {
      "feed.*": "feeds",
      "*.import": "imports",
      "feed.import": "the-one",
      "video.?": "never a pattern",
    };
    assert.deepEqual(route(routes, "feed.import"), { queue: "the-one" });
    assert.deepEqual(route(routes, "feed.export"), { queue: "feeds" });
    assert.deepEqual(route(routes, "web.import"), { queue: "imports" });
    assert.equal(route(routes, "video.x"), undefined);
    assert.equal(route(routes, "FEED.export"), undefined);
  });

  test("are names of objects, too: __proto__ and constructor are tasks like others", () => {
    assert.equal(route({ "feed.*": "feeds" }, "constructor"), undefined);
    assert.deepEqual(route([["__proto__", "odd"]], "__proto__"), { queue: "odd" });
  });

  test("are taken in Celery's spelling", () => {
    const routes = { "a.b": { queue: "q", routing_key: "k", delivery_mode: "transient", priority: 3 } } as Routes;
    assert.deepEqual(route(routes, "a.b"), { queue: "q", routingKey: "k", deliveryMode: 1, priority: 3 });
  });

  test("may be patterns: looked for anywhere, unless they say where", () => {
    const routes: Routes = [
      [/^(video|image)\./g, "media"],
      [/\.tasks\./y, "never: nothing begins so"],
      [/urgent/i, { queue: "first", priority: 9 }],
    ];
    for (let again = 0; again < 2; again += 1) {
      assert.deepEqual(route(routes, "video.cut"), { queue: "media" });
      assert.deepEqual(route(routes, "mail.URGENT.send"), { queue: "first", priority: 9 });
      assert.equal(route(routes, "my.video.tasks.cut"), undefined);
    }
  });

  test("may be functions, told all of the call; undefined and null let the next one answer", () => {
    const asked: unknown[] = [];
    const routes: Routes = [
      (task, args, kwargs, options) => {
        asked.push(task, args, kwargs, options);
        return undefined;
      },
      () => null,
      (task) => (task.startsWith("x") ? "ex" : { queue: "other", routing_key: "k" }),
      { "*": "too late" },
    ];
    assert.deepEqual(route(routes, "xa", { priority: 1 }), { queue: "ex" });
    assert.deepEqual(route(routes, "ya"), { queue: "other", routingKey: "k" });
    assert.deepEqual(asked.slice(0, 4), ["xa", [1], { a: 2 }, { priority: 1 }]);
  });

  test("go in order, and the first that knows wins, also with an empty route", () => {
    assert.deepEqual(route([{ "a.*": "first" }, { "a.b": "second" }], "a.b"), { queue: "first" });
    assert.deepEqual(route([{ "a.*": {} }, { "a.b": "second" }], "a.b"), {});
  });

  test("take Celery's list of pairs, as one table", () => {
    const pairs: Routes = [
      [
        ["a.*", "glob"],
        ["a.b", "exact"],
      ],
    ];
    assert.deepEqual(route(pairs, "a.b"), { queue: "exact" });
    assert.deepEqual(route([["a.*", "glob"], ["a.b", "exact"], () => "fallback"], "a.b"), { queue: "exact" });
    assert.deepEqual(route([["a.*", "glob"], () => "fallback", ["c", "exact"]], "c"), { queue: "fallback" });
  });

  test("name each thing that is wrong, at start", () => {
    const problems = problemsOf([
      { a: { qeue: "x" }, b: 7, c: "", d: { priority: 900 }, e: { deliveryMode: 3 } },
      "module.path:router",
      5,
    ]);
    assert.equal(problems.length, 7);
    assert.match(problems[0] ?? "", /taskRoutes\["a"\] has "qeue", which a route cannot say; did you mean "queue"\?/);
    assert.match(problems[1] ?? "", /taskRoutes\["b"\] must be the name of a queue, or an object/);
    assert.match(problems[2] ?? "", /must name a queue, and is empty/);
    assert.match(problems[3] ?? "", /taskRoutes\["d"\]\.priority must be a whole number from 0 to 255; it was 900/);
    assert.match(problems[4] ?? "", /deliveryMode must be 2/);
    assert.match(problems[5] ?? "", /give the function itself, not its name/);
    assert.match(problems[6] ?? "", /not 5/);
  });

  test("refuse a function's answer that is no route, when it is given", () => {
    const async = (async () => "q") as unknown as Routes;
    assert.throws(() => route(async, "a"), {
      code: "ERR_INVALID_INPUT",
      message: /is a promise: a router answers at once/,
    });
    const wrong = (() => ({ que: "q" })) as unknown as Routes;
    assert.throws(() => route(wrong, "a"), {
      code: "ERR_INVALID_INPUT",
      message: /"a" has "que".*did you mean "queue"/,
    });
  });
});
