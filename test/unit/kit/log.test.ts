import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { InvalidInputError } from "../../../src/kit/errors.ts";
import { createLogger, type LoggerOptions, parseLogLevel, silentLogger } from "../../../src/kit/log.ts";
import { FakeClock } from "../../../src/testing/fake-clock.ts";

function capture(options: LoggerOptions = {}) {
  const lines: string[] = [];
  const clock = new FakeClock({ wallMs: new Date(2026, 10, 22, 18, 54, 0, 123) });
  const log = createLogger({ clock, destination: (line) => lines.push(line), ...options });
  return { log, lines, clock };
}

describe("the log as text", () => {
  test("is Celery's line, with fields behind the message", async () => {
    const { log, lines, clock } = capture();
    log.info("ready", { node: "w1@host", queues: ["celery", "mail"], took: 0.5, reason: "two words", none: undefined });
    await clock.advance(877);
    log.warn("slow");

    assert.deepEqual(lines, [
      '[2026-11-22 18:54:00,123: INFO/MainProcess] ready node=w1@host queues=["celery","mail"] took=0.5 reason="two words"',
      "[2026-11-22 18:54:01,000: WARNING/MainProcess] slow",
    ]);
  });

  test("puts a task's traceback on indented lines below its entry, with nothing in it that acts", () => {
    const { log, lines } = capture();

    log.error("Task a[x] raised unexpected", { traceback: "RangeError: far\n    at a (tasks.ts:1:1)\u001b[2J" });

    assert.equal(
      lines[0]?.replace(/^\[[^\]]*\] /, ""),
      "Task a[x] raised unexpected\n    RangeError: far\n        at a (tasks.ts:1:1)\\u{1b}[2J",
    );
  });

  test("names the process and adds a child's fields to each entry, the entry's own winning", () => {
    const { log, lines } = capture({ process: "ForkPoolWorker-2" });
    const child = log.child({ task: "a", n: 1 }).child({ id: "x" });
    child.error("failed", { n: 2 });
    assert.deepEqual(lines, ["[2026-11-22 18:54:00,123: ERROR/ForkPoolWorker-2] a[x]: failed n=2"]);
  });

  test("is one line whatever is in it", () => {
    const { log, lines } = capture();
    log.info("a\n[2026-11-22 18:54:00,123: INFO/MainProcess] forged \u001b[2J\u202e", {
      "k\ney": "v\r\nw",
      big: "x".repeat(1e6),
    });
    assert.equal(lines.length, 1);
    const line = lines[0] ?? "";
    assert.equal(/[\p{Cc}\u202e]/u.test(line), false);
    assert.ok(line.length < 2_500);
  });

  test("shows no password, in message, field, error, or under a secret's name", () => {
    const { log, lines } = capture({ level: "debug" });
    const error = new Error("no amqp://u:CaNaRy@h", { cause: new Error("redis://:CaNaRy@h refused") });
    log.error("lost amqp://u:CaNaRy@h", {
      url: "redis://:CaNaRy@h",
      error,
      password: "CaNaRy",
      o: { apiKey: "CaNaRy" },
    });
    assert.ok(!lines.join("\n").includes("CaNaRy"), lines.join("\n"));
  });

  test("shows a stack at level debug only, on indented lines", () => {
    const error = new InvalidInputError("wrong", { cause: new Error("deeper") });
    const quiet = capture();
    quiet.log.error("failed", { error });
    assert.match(quiet.lines[0] ?? "", /failed error="wrong \(ERR_INVALID_INPUT\), caused by: deeper"$/);

    const loud = capture({ level: "debug" });
    loud.log.error("failed", { error });
    const [first, ...rest] = (loud.lines[0] ?? "").split("\n");
    assert.match(first ?? "", /caused by: deeper"$/);
    assert.ok(rest.length > 0);
    for (const line of rest) assert.match(line, /^ {4}at /);
  });

  test("colours the level's name when asked to", () => {
    const { log, lines } = capture({ color: true });
    log.critical("down");
    assert.equal(lines[0], "[2026-11-22 18:54:00,123: \u001b[35mCRITICAL\u001b[0m/MainProcess] down");
  });
});

describe("levels", () => {
  test("write themselves and what is above", () => {
    const { log, lines } = capture({ level: "Warn" });
    log.debug("d");
    log.info("i");
    log.warn("w");
    log.error("e");
    log.critical("c");
    assert.deepEqual(
      lines.map((line) => line.at(-1)),
      ["w", "e", "c"],
    );
    assert.equal(log.level, "warning");
    assert.equal(log.isEnabled("info"), false);
    assert.equal(log.isEnabled("warning"), true);
    assert.equal(log.child({}).isEnabled("info"), false);
  });

  test("are named in any case, and a wrong one is refused with the right ones", () => {
    for (const [text, level] of [
      ["DEBUG", "debug"],
      ["warn", "warning"],
      ["WARNING", "warning"],
      ["Fatal", "critical"],
      [" info ", "info"],
    ]) {
      assert.equal(parseLogLevel(text ?? ""), level);
    }
    for (const wrong of ["verbose", "", "__proto__", "constructor"]) {
      assert.throws(() => createLogger({ level: wrong }), {
        name: "InvalidInputError",
        message: `log level ${JSON.stringify(wrong)} is none: use debug, info, warning, error or critical`,
      });
    }
  });
});

describe("the log as JSON", () => {
  test("is one object a line with Celery's level names", () => {
    const { log, lines } = capture({ json: true, process: "p" });
    log.child({ id: "x" }).warn("slow", { ms: 3, list: [1], level: "mine", error: new Error("e") });
    assert.equal(lines.length, 1);
    const { pid, ...entry } = JSON.parse(lines[0] ?? "");
    assert.equal(pid, process.pid);
    assert.deepEqual(entry, {
      level: "WARNING",
      time: new Date(2026, 10, 22, 18, 54, 0, 123).toISOString(),
      process: "p",
      id: "x",
      ms: 3,
      list: [1],
      level_: "mine",
      error: "e",
      message: "slow",
    });
  });

  test("has the same levels, the same redaction and the same limits", () => {
    const { log, lines } = capture({ json: true, level: "info" });
    log.debug("no");
    log.critical("amqp://u:CaNaRy@h", {
      password: "CaNaRy",
      many: Array.from({ length: 50 }, () => "y".repeat(1_000)),
    });
    assert.equal(lines.length, 1);
    const line = lines[0] ?? "";
    assert.equal(JSON.parse(line).level, "CRITICAL");
    assert.ok(!line.includes("CaNaRy"));
    assert.ok(line.length < 3_000);
  });

  test("has the stack in its own field at level debug", () => {
    const { log, lines } = capture({ json: true, level: "debug" });
    log.error("failed", { error: new Error("e") });
    assert.match(JSON.parse(lines[0] ?? "").error_stack[0], /^at /);
  });
});

test("a destination that throws, and a field that throws, harm nobody", () => {
  const log = createLogger({
    destination: () => {
      throw new Error("gone");
    },
  });
  log.info("x", {
    get field() {
      throw new Error("no");
    },
  });
});

test("the silent logger writes nothing and its children neither", () => {
  silentLogger.child({ a: 1 }).critical("x");
  assert.equal(silentLogger.isEnabled("critical"), false);
});

test("without a destination the log goes to standard error, complete when the process dies", () => {
  const module = new URL("../../../src/kit/log.ts", import.meta.url).href;
  const code = `const { createLogger } = await import(${JSON.stringify(module)});
    const log = createLogger();
    for (let i = 0; i < 2000; i++) log.info("line " + i);
    process.kill(process.pid, "SIGKILL");`;
  const { stderr, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
  assert.equal(stdout, "");
  assert.match(stderr, /INFO\/MainProcess\] line 1999\n$/);
});
