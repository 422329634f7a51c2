/** The services that `npm test` sets up: a RabbitMQ of our own beside any other, ended with whoever started it. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { probe, rabbitmq } from "../../scripts/services/rabbitmq.ts";
import { atEnd } from "../support/cleanup.ts";
import { skipOrFail } from "../support/needed.ts";
import { startNode } from "../support/processes.ts";
import { tempDir } from "../support/temp.ts";

const SERVICE = JSON.stringify(join(import.meta.dirname, "../../scripts/services/rabbitmq.ts"));
const VHOST = JSON.stringify(join(import.meta.dirname, "../../scripts/services/vhost.ts"));
/** Starts it, says where it is and what its own rabbitmqctl answers, and stays. */
const OWNER = `import { rabbitmq } from ${SERVICE};
import { addVhost, listVhosts } from ${VHOST};
const { url, env } = await rabbitmq.ensure();
const control = JSON.parse(env.LOVAGE_TEST_RABBITMQCTL);
await addVhost(control, "own", "guest");
console.log("vhosts", (await listVhosts(control)).toSorted().join(" "));
console.log("url", url);
setInterval(() => {}, 60_000);
`;

const installed = existsSync("/usr/lib/rabbitmq/bin/rabbitmq-server");
const { skip } = installed ? { skip: false as const } : skipOrFail("no /usr/lib/rabbitmq: install rabbitmq-server");

describe("a private RabbitMQ", { skip }, () => {
  test("starts beside any other, is commanded by its own rabbitmqctl, and ends without a trace", async (t) => {
    const folder = await tempDir(t);
    const owner = startNode(t, "--input-type=module", {
      args: ["-e", OWNER],
      env: { TMPDIR: folder, LOVAGE_TEST_PRIVATE: "1", LOVAGE_TEST_AMQP_URL: undefined },
    });
    const [, url = ""] = await owner.waitForLine(/^url (.*)$/);
    assert.equal(await probe(url), undefined);
    assert.ok(owner.lines.includes("vhosts / own"), owner.text);
    assert.equal((await readdir(folder)).length, 1);

    owner.signal("SIGKILL");

    await owner.ended;
    while ((await readdir(folder)).length > 0) await sleep(20);
    assert.match((await probe(url)) ?? "", /ECONNREFUSED/);
  });

  test("says what is wrong when nobody answers at the URL it is told to use", async (t) => {
    const before = process.env.LOVAGE_TEST_AMQP_URL;
    atEnd(t, () => {
      if (before === undefined) delete process.env.LOVAGE_TEST_AMQP_URL;
      else process.env.LOVAGE_TEST_AMQP_URL = before;
    });
    process.env.LOVAGE_TEST_AMQP_URL = "amqp://127.0.0.1:1/";

    const answer = await rabbitmq.ensure();

    assert.ok("missing" in answer);
    assert.match(answer.missing, /LOVAGE_TEST_AMQP_URL names a server that does not answer: .*ECONNREFUSED/);
  });
});
