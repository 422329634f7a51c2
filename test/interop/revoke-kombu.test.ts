/** Celery's API and its command line against a Lovage worker: a revoke by stamp, ping, a revoke by id, on both brokers. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { findCelery } from "../../scripts/services/tools.ts";
import { interop } from "../support/interop.ts";
import { Program } from "../support/processes.ts";
import { needCelery, runPython } from "../support/python.ts";
import { needRedisServer, startRedis } from "../support/redis.ts";
import { AMQP_URL } from "../support/servers.ts";

const APP = join(import.meta.dirname, "../support/apps/life-app.ts");
const { skip } = await needCelery();
const python = (await findCelery())?.path ?? "";
const STAMPED = { stamps: { customer: ["7"] }, stamped_headers: ["customer"] };
for (const kind of ["rabbitmq", "redis"])
  describe(`Celery and a Lovage worker on ${kind}`, { skip: skip || needRedisServer().skip, timeout: 200_000 }, () => {
    test("revoke by stamp, and celery inspect ping and control revoke, reach it", async (t) => {
      const server = kind === "redis" ? await startRedis(t) : undefined;
      const world = await interop(t, { app: APP, concurrency: 1, ...(server ? { broker: { url: server.url } } : {}) });
      const url = server?.url ?? AMQP_URL;
      const client = world.client();
      const node = `k-${world.queue}@here`;
      const worker = await world.worker({}, "-n", node);
      const running = await client
        .signature("life.hold", { args: [join(world.folder, "never")], headers: STAMPED })
        .delay();
      await world.ledger.waitFor(1, "began", "life.hold", running.id);
      const reserved = await client.signature("life.echo", { args: ["r"], headers: STAMPED }).delay();
      const parked = await client.signature("life.echo", { args: ["p"], headers: STAMPED, countdown: 8 }).delay();
      while ((await client.schedule.counts()).scheduled !== 1) await new Promise((r) => setTimeout(r, 20));
      const answered = await runPython(
        t,
        `
import json
from celery import Celery
app = Celery("c", broker=${JSON.stringify(url)}, set_as_current=False)
print(json.dumps(app.control.broadcast("revoke_by_stamped_headers", arguments={"headers": {"customer": ["7"]}, "terminate": True, "signal": "SIGTERM"}, destination=["${node}"], reply=True, timeout=30, limit=1)))`,
      );
      assert.deepEqual(JSON.parse(answered), [{ [node]: { ok: "headers {'customer': ['7']} revoked" } }]);
      for (const each of [running, reserved, parked])
        await assert.rejects(client.result(each.id).get({ timeout: 60 }), { code: "ERR_TASK_REVOKED" });
      assert.equal(world.ledger.count("began", "life.echo"), 0);
      writeFileSync(
        join(world.folder, "papp.py"),
        `from celery import Celery\napp=Celery("papp", broker=${JSON.stringify(url)})\n`,
      );
      const celery = async (...args: string[]) => {
        const p = new Program(t, python, {
          args: ["-m", "celery", "-A", "papp", ...args],
          cwd: world.folder,
        });
        return { ...(await p.ended), text: p.text };
      };
      const ping = await celery("inspect", "-t", "20", "-d", node, "ping");
      assert.equal(ping.status, 0);
      assert.match(ping.text, /pong/);
      const later = await client.signature("life.echo", { args: ["x"], countdown: 3_600 }).delay();
      while (((await client.schedule.counts()).scheduled ?? 0) !== 1) await new Promise((r) => setTimeout(r, 20));
      const rev = await celery("control", "-t", "20", "-d", node, "revoke", later.id);
      assert.equal(rev.status, 0);
      await assert.rejects(client.result(later.id).get({ timeout: 60 }), { code: "ERR_TASK_REVOKED" });
      await worker.stop();
    });
  });
