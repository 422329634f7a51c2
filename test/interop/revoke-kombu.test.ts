/** Celery's API and its command line against a Lovage worker, on both brokers: a revoke by stamp, ping, a revoke by id. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Interop, interop } from "../support/interop.ts";
import { needCelery, runPython, startPython } from "../support/python.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { needRabbitmq } from "../support/servers.ts";
import { until } from "../support/until.ts";
import { fixture } from "../unit/protocol/fixtures.ts";

const APP = join(import.meta.dirname, "../support/apps/life-app.ts");
const skip = (await needCelery()).skip || (await needRabbitmq()).skip || needRedisServer().skip;
const STAMPED = { stamps: { customer: ["7"] }, stamped_headers: ["customer"] };
const SECONDS = "20";

interface Printed {
  readonly exit_code: number;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
}
/** What `celery inspect …` printed of a worker of its own. */
const { cli: captured } = fixture<{ cli: Record<string, Printed> }>("cli_and_misc.json");

for (const kind of ["rabbitmq", "redis"]) {
  describe(`Celery and a Lovage worker on ${kind}`, { skip, timeout: 200_000 }, () => {
    test("a revoke by stamp ends what runs, discards what is reserved, and cancels what waits", async (t) => {
      const world = await interop(t, kind === "redis" ? { app: APP, broker: await startRedis(t) } : { app: APP });
      const client = world.client();
      const node = `k-${world.queue}@here`;
      await world.worker({}, "-n", node, "-c", "1");
      const send = (task: string, args: unknown[], options = {}) =>
        client.signature(task, { args, headers: STAMPED, ...options }).delay();
      const running = await send("life.hold", [join(world.folder, "never")]);
      await world.ledger.waitFor(1, "began", "life.hold", running.id);
      const reserved = await send("life.echo", ["r"]);
      const parked = await send("life.echo", ["p"], { countdown: 3_600 });
      await until(async () => (await client.schedule.counts()).scheduled === 1);

      const answered = await runPython(t, broadcast(world.brokerUrl, node));
      assert.deepEqual(JSON.parse(answered), [{ [node]: { ok: "headers {'customer': ['7']} revoked" } }]);
      for (const each of [running, reserved, parked]) {
        await assert.rejects(client.result(each.id).get({ timeout: 60 }), { code: "ERR_TASK_REVOKED" });
      }
      assert.equal(world.ledger.count("began", "life.echo"), 0);
    });

    test("celery inspect, status and control print what they print of Celery's own", async (t) => {
      const world = await interop(t, kind === "redis" ? { app: APP, broker: await startRedis(t) } : { app: APP });
      const client = world.client();
      const node = `k-${world.queue}@here`;
      await world.worker({}, "-n", node);
      const told = async (command: string, ...args: string[]) => {
        const printed = await celery(world, t, ...args);
        assert.deepEqual(printed, asOf(captured[command], node), command);
      };

      await told("celery inspect ping", "inspect", "-t", SECONDS, "-d", node, "ping");
      await told("celery status", "status", "-t", SECONDS, "-d", node);
      await told(
        "celery inspect ping -d nobody@host.example",
        "inspect",
        "-t",
        "1",
        "-d",
        "nobody@host.example",
        "ping",
      );

      const later = await client.signature("life.echo", { args: ["x"], countdown: 3_600, taskId: "some-id" }).delay();
      await until(async () => (await client.schedule.counts()).scheduled === 1);
      await told("celery control revoke some-id", "control", "-t", SECONDS, "-d", node, "revoke", "some-id");
      await assert.rejects(client.result(later.id).get({ timeout: 60 }), { code: "ERR_TASK_REVOKED" });
    });
  });
}

function broadcast(url: string, node: string): string {
  return `
import json
from celery import Celery
app = Celery("c", broker=${JSON.stringify(url)}, set_as_current=False)
print(json.dumps(app.control.broadcast("revoke_by_stamped_headers", arguments={"headers": {"customer": ["7"]}, "terminate": True, "signal": "SIGTERM"}, destination=[${JSON.stringify(node)}], reply=True, timeout=30, limit=1)))`;
}

/** What was captured, of this node. */
function asOf(printed: Printed | undefined, node: string): Printed {
  const here = (lines: readonly string[] = []) => trimmed(lines.map((line) => line.replace("ref@host.example", node)));
  return { exit_code: printed?.exit_code ?? -1, stdout: here(printed?.stdout), stderr: here(printed?.stderr) };
}

async function celery(world: Interop, t: Parameters<typeof startPython>[0], ...args: string[]): Promise<Printed> {
  const app = `from celery import Celery\napp = Celery("papp", broker=${JSON.stringify(world.brokerUrl)})\n`;
  writeFileSync(join(world.folder, "papp.py"), app);
  const program = await startPython(t, { args: ["-m", "celery", "-A", "papp", ...args], cwd: world.folder });
  const { status } = await program.ended;
  const lines = (text: string) => trimmed(text.split("\n"));
  return { exit_code: status ?? -1, stdout: lines(program.stdout), stderr: lines(program.stderr) };
}

/** Without empty lines: Celery 5.2 has others than 5.6. */
function trimmed(lines: readonly string[]): string[] {
  return lines.map((line) => line.trimEnd()).filter((line) => line !== "");
}
