/** Bad input gets one line that names the input, the rule and the remedy; the exit status says whose fault it was. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { runCli } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const APP = `import { Lovage } from "lovage";
export const app = new Lovage("bad-input");
app.task("one.task", () => 1);
`;
/** Nobody listens on this port of the loopback. */
const DEAD = "amqp://user:secret@127.0.0.1:9//";

interface Case {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
  readonly status: 1 | 2;
  readonly says: RegExp;
}

const CASES: readonly Case[] = [
  { name: "no -A", args: ["worker"], status: 2, says: /worker needs -A FILE/ },
  {
    name: "a file that is not there",
    args: ["-A", "nowhere.ts", "worker"],
    status: 2,
    says: /-A nowhere\.ts: there is no such file/,
  },
  {
    name: "a file without an app",
    args: ["-A", "empty.ts", "worker"],
    status: 2,
    says: /-A empty\.ts: the file exports no app; add: export const app/,
  },
  {
    name: "an unknown option",
    args: ["-A", "tasks.ts", "worker", "--concurency", "2"],
    status: 2,
    says: /unknown option '--concurency'/,
  },
  { name: "an unknown command", args: ["wrker"], status: 2, says: /unknown command 'wrker'/ },
  {
    name: "a wrong concurrency",
    args: ["-A", "tasks.ts", "worker", "-c", "two"],
    status: 2,
    says: /argument 'two' is invalid.*whole number/,
  },
  {
    name: "a wrong pool",
    args: ["-A", "tasks.ts", "worker", "-P", "gevent"],
    status: 2,
    says: /'gevent' is invalid.*prefork, solo/,
  },
  {
    name: "a wrong log level",
    args: ["-A", "tasks.ts", "worker", "-l", "loud"],
    status: 2,
    says: /--loglevel "loud" is none: use debug, info/,
  },
  {
    name: "a wrong scheme",
    args: ["call", "x"],
    env: { LOVAGE_BROKER_URL: "mysql://user:secret@h/" },
    status: 2,
    says: /LOVAGE_BROKER_URL must be a URL that begins with amqp:.*not mysql:/,
  },
  {
    name: "a dead host",
    args: ["call", "x"],
    env: { LOVAGE_BROKER_URL: DEAD },
    status: 1,
    says: /amqp:\/\/user:\*\*@127\.0\.0\.1:9.*nothing listens/,
  },
  {
    name: "a countdown in milliseconds",
    args: ["call", "x", "--countdown", "1700000000000"],
    status: 2,
    says: /countdown is in seconds; for a moment use eta/,
  },
  {
    name: "a naive eta",
    args: ["call", "x", "--eta", "2027-03-01T09:00"],
    status: 2,
    says: /eta.*2027-03-01T09:00.*(offset|timezone)/,
  },
  {
    name: "an eta that is no date",
    args: ["call", "x", "--eta", "2027-02-30T09:00Z"],
    status: 2,
    says: /eta.*2027-02-30/,
  },
  { name: "arguments that are no JSON", args: ["call", "x", "-a", "[1,"], status: 2, says: /--args is not JSON/ },
  {
    name: "arguments that are no array",
    args: ["call", "x", "-a", "{}"],
    status: 2,
    says: /--args must be a JSON array/,
  },
  {
    name: "a callback that nobody knows",
    args: ["schedule", "get", "nope"],
    status: 1,
    says: /no callback has the id or key "nope"/,
  },
  {
    name: "a recurrence that nobody knows",
    args: ["schedule", "get", "r-nope"],
    status: 1,
    says: /no recurrence has the id or key "r-nope"/,
  },
  {
    name: "a reschedule of what recurs",
    args: ["schedule", "reschedule", "r-1-abc", "--by", "+2h"],
    status: 1,
    says: /"r-1-abc" is a recurrence's id, and no callback's; its occurrences are callbacks: list\(/,
  },
  {
    name: "a reschedule to nowhere",
    args: ["schedule", "reschedule", "nope"],
    status: 2,
    says: /takes one of --countdown, --eta and --by/,
  },
  {
    name: "a state that there is not",
    args: ["schedule", "list", "--state", "lost"],
    status: 2,
    says: /--state "lost" is none: use scheduled/,
  },
  {
    name: "a list of none",
    args: ["schedule", "list", "--limit", "0"],
    status: 2,
    says: /argument '0' is invalid.*from 1 on/,
  },
  {
    name: "a cursor of nobody's",
    args: ["schedule", "list", "--cursor", "here"],
    status: 2,
    says: /cursor "here" is none/,
  },
  {
    name: "a moment without its zone",
    args: ["schedule", "list", "--due-before", "2027-03-01T09:00"],
    status: 2,
    says: /dueBefore "2027-03-01T09:00" has no offset/,
  },
  {
    name: "occurrences of a recurrence that nobody knows",
    args: ["schedule", "list", "--recurrence", "nope"],
    status: 1,
    says: /no recurrence has the id or key "nope"/,
  },
  {
    name: "to cancel all without saying which",
    args: ["schedule", "cancel-all", "--state", "scheduled"],
    status: 2,
    says: /cancel-all needs to be told which: --task, --tag, .* or --everything/,
  },
  {
    name: "to cancel everything and some",
    args: ["schedule", "cancel-all", "--everything", "--queue", "mail"],
    status: 2,
    says: /--everything was given with a filter/,
  },
  {
    name: "to cancel by a shell variable that is not set",
    args: ["schedule", "cancel-all", "--queue", "mail", "--tag", ""],
    status: 2,
    says: /--tag is empty: give a value, or leave it out/,
  },
  {
    name: "to do with those that run what cannot be done",
    args: ["schedule", "cancel-all", "--queue", "mail", "--running", "kill"],
    status: 2,
    says: /argument 'kill' is invalid.*abort/,
  },
  {
    name: "to pause a callback",
    args: ["schedule", "pause", "nope"],
    status: 1,
    says: /no recurrence has the id or key "nope"/,
  },
  {
    name: "a recurrence's state that there is not",
    args: ["schedule", "recurrences", "--state", "running"],
    status: 2,
    says: /--state "running" is none of a recurrence: use active, paused, ended/,
  },
  {
    name: "a preview of nothing",
    args: ["schedule", "preview"],
    status: 2,
    says: /preview takes one of --cron, --every, --rrule and a recurrence's id or key/,
  },
  {
    name: "a preview of two things",
    args: ["schedule", "preview", "--cron", "* * * * *", "--every", "5m"],
    status: 2,
    says: /preview takes one of/,
  },
  {
    name: "a pattern that cannot come",
    args: ["schedule", "preview", "--cron", "0 0 30 2 *"],
    status: 2,
    says: /0 0 30 2 \*/,
  },
  {
    name: "a pattern that is none",
    args: ["schedule", "preview", "--cron", "every day"],
    status: 2,
    says: /every day/,
  },
  {
    name: "a zone that there is not",
    args: ["schedule", "preview", "--cron", "* * * * *", "--timezone", "Europe/Atlantis"],
    status: 2,
    says: /Europe\/Atlantis.*IANA/,
  },
  {
    name: "a rule of iCalendar that is none",
    args: ["schedule", "preview", "--rrule", "FREQ=SOMETIMES"],
    status: 2,
    says: /rrule/i,
  },
  {
    name: "a zone where there are no clocks",
    args: ["schedule", "preview", "--every", "5m", "--timezone", "Europe/Berlin"],
    status: 2,
    says: /--timezone goes with --cron/,
  },
  {
    name: "more of a preview than anybody reads",
    args: ["schedule", "preview", "--every", "5m", "-n", "1001"],
    status: 2,
    says: /1 … 1000 times, not 1001/,
  },
  {
    name: "a live view of less than one",
    args: ["schedule", "top", "--once", "-n", "none"],
    status: 2,
    says: /argument 'none' is invalid/,
  },
];

async function folderWithApps(t: TestContext): Promise<string> {
  const cwd = await tempDir(t);
  await writeFile(join(cwd, "tasks.ts"), APP);
  await writeFile(join(cwd, "empty.ts"), "export const nothing = 1;\n");
  await writeFile(join(cwd, "broken.ts"), "export const app = undefinedName.oops;\n");
  return cwd;
}

describe("the command line", () => {
  for (const { name, args, env = {}, status, says } of CASES) {
    test(`refuses ${name} in one line`, async (t) => {
      const cwd = await folderWithApps(t);

      const ended = await runCli(t, args, { cwd, env });

      assert.match(ended.stderr, says);
      assert.equal(ended.status, status, ended.stderr);
      assert.equal(ended.stdout, "");
      assert.doesNotMatch(ended.stderr, /\n\s+at /, "no stack");
      assert.doesNotMatch(ended.stderr, /secret/, "no password");
    });
  }

  test("a file that does not load shows the user's own stack", async (t) => {
    const cwd = await folderWithApps(t);

    const { stderr, status } = await runCli(t, ["-A", "broken.ts", "worker"], { cwd });

    assert.match(stderr, /-A broken\.ts: the file does not load: undefinedName is not defined/);
    assert.match(stderr, /broken\.ts:1/);
    assert.equal(status, 1);
  });

  test("at -l debug the stack is shown", async (t) => {
    const cwd = await folderWithApps(t);

    const { stderr } = await runCli(t, ["-A", "nowhere.ts", "worker", "-l", "debug"], { cwd });

    assert.match(stderr, /there is no such file/);
    assert.match(stderr, /\n\s+at .*find-app/);
  });

  test("a payload that JSON cannot carry is refused by its path, and nothing is sent", async () => {
    const { Lovage } = await import("lovage");
    const app = new Lovage("payload", { broker: "memory://cli-bad-input" });
    const task = app.task("t", (_value: unknown) => 1);

    await assert.rejects(
      task.delay({ customers: [{ name: "Ada" }, { name: () => "Grace" }] }),
      /args\[0\]\.customers\[1\]\.name.*function/,
    );
    await assert.rejects(task.callAfter(5, [Symbol("x")]), /args\[0\].*symbol/);
    await app.close();
  });
});
