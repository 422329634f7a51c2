/** A fleet that takes signed messages alone: Celery's workers and clients and ours, on RabbitMQ. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { startCeleryWorker } from "../support/celery.ts";
import { interop } from "../support/interop.ts";
import { needCelery, runPython } from "../support/python.ts";
import { needRabbitmq } from "../support/servers.ts";
import { until } from "../support/until.ts";

const HANG = { timeout: 120_000, skip: (await needRabbitmq()).skip || (await needCelery()).skip };
const FIXTURES = join(import.meta.dirname, "../fixtures/auth");
const file = (name: string) => join(FIXTURES, name);

/** Alice signs with ours, in the envelope that Debian's Celery reads. */
const SIGNED = {
  LOVAGE_ACCEPT_CONTENT: '["auth"]',
  LOVAGE_TASK_SERIALIZER: "auth",
  LOVAGE_SECURITY_KEY: file("alice.key"),
  LOVAGE_SECURITY_CERTIFICATE: file("store/alice.crt"),
  LOVAGE_SECURITY_CERT_STORE: file("store"),
  LOVAGE_SECURITY_ENVELOPE: "raw",
};

/** The same in Celery, which reads no key with a password: Alice's as well. */
const SETUP = `
app.conf.update(task_serializer="auth", accept_content=["auth"], result_accept_content=["json"], event_serializer="auth",
    security_key=${JSON.stringify(file("alice.key"))}, security_certificate=${JSON.stringify(file("store/alice.crt"))},
    security_cert_store=${JSON.stringify(file("store"))})
app.setup_security()
`;

describe("signed messages", HANG, () => {
  test("of Celery are taken, and what is not signed, or by somebody else, is in quarantine", async (t) => {
    const world = await interop(t);
    await world.worker(SIGNED);
    const id = await send(t, world.brokerUrl, world.queue, SETUP, "signed");
    assert.deepEqual(await world.ledger.waitFor(1, "foo"), [["foo", "signed", 2, id]]);

    const stranger = world.client({
      ...SIGNED,
      LOVAGE_SECURITY_KEY: file("mallory.key"),
      LOVAGE_SECURITY_CERTIFICATE: file("mallory.crt"),
    });
    await stranger.signature("demo.foo", { args: ["by a stranger"] }).applyAsync();
    const plain = world.client();
    await plain.signature("demo.foo", { args: ["not signed"] }).applyAsync();
    await world
      .client(SIGNED)
      .signature("demo.foo", { args: ["by ours"] })
      .applyAsync();

    const ran = await world.ledger.waitFor(2, "foo");
    const quarantine = await plain.backends.quarantine();
    await until(async () => (await quarantine.count()) === 2);
    const kept = (await quarantine.list({ limit: 100 })).map(({ code }) => code);
    assert.deepEqual(kept.sort(), ["ERR_CONTENT_TYPE", "ERR_SIGNER"]);
    assert.deepEqual(
      ran.map(([, word]) => word),
      ["signed", "by ours"],
    );
  });

  test("of ours are taken by Celery's worker", async (t) => {
    const world = await interop(t);
    const worker = await startCeleryWorker(t, {
      url: world.brokerUrl,
      queue: world.queue,
      tasks: `${SETUP}\n@app.task(name="demo.echo")\ndef echo(word):\n    print("got " + word, flush=True)\n`,
    });
    await world
      .client({ ...SIGNED, LOVAGE_ACCEPT_CONTENT: '["json"]' })
      .signature("demo.echo", { args: ["žluť"] })
      .applyAsync();
    await worker.waitForLine(/^got žluť$/);
  });

  test("cannot be set up by halves", async (t) => {
    const world = await interop(t);
    assert.throws(() => world.client({ LOVAGE_TASK_SERIALIZER: "auth" }), /securityKey and securityCertificate/);
    assert.throws(() => world.client({ LOVAGE_ACCEPT_CONTENT: '["auth"]' }), /securityCertStore/);
    const nowhere = world.startWorker({ ...SIGNED, LOVAGE_SECURITY_CERT_STORE: file("nowhere") });
    assert.deepEqual(await nowhere.ended, { status: 1, signal: null });
    assert.match(nowhere.text, /no certificate at ".*nowhere"/);
  });
});

async function send(t: TestContext, url: string, queue: string, setup: string, word: string): Promise<string> {
  const code = `
from celery import Celery
app = Celery("interop", broker=${JSON.stringify(url)})
${setup}
print(app.send_task("demo.foo", [${JSON.stringify(word)}], {"times": 2}, queue=${JSON.stringify(queue)}).id)
`;
  return (await runPython(t, code)).trim();
}
