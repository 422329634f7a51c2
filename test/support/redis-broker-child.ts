/**
 * A consumer that is killed, by itself and with signal 9, at one command of all that it sends to Redis: before it is written, when it is
 * written, or when it is answered. What runs is noted before it is acknowledged.
 */
import { appendFileSync } from "node:fs";
import { Redis } from "ioredis";
import { openRedisBroker } from "../../src/brokers/redis.ts";

const [url = "", prefix = "", ledger = "", at = "0", when = "before", transport = "{}"] = process.argv.slice(2);

let sent = 0;
const die = () => process.kill(process.pid, "SIGKILL");
const { sendCommand } = Redis.prototype;
Redis.prototype.sendCommand = function (this: Redis, ...args: Parameters<typeof sendCommand>) {
  const isIt = ++sent === Number(at);
  if (isIt && when === "before") die();
  const answer = sendCommand.apply(this, args);
  if (isIt && when === "sent") {
    // Redis has it, and nothing else comes out of this process.
    const until = performance.now() + 20;
    while (performance.now() < until);
    die();
  }
  if (isIt && when === "answered") (answer as Promise<unknown>).then(die, die);
  return answer;
};

const broker = await openRedisBroker(url, {
  transport: { global_keyprefix: prefix, ...JSON.parse(transport) },
});
const connection = await broker.connect({ name: "child", timeoutMs: 10_000 });
await connection.declareQueue("q");
await connection.setPrefetch(2);
let ran = 0;
await connection.consume("q", async (delivery) => {
  const text = Buffer.from(delivery.message.body).toString();
  appendFileSync(ledger, `${text}\n`);
  // The third goes back once, the fourth is refused.
  if (text === "2" && !delivery.redelivered) await delivery.requeue();
  else if (text === "3") await delivery.reject();
  else await delivery.ack();
  ran += 1;
  if (ran < 7) return;
  await connection.close();
  process.exit(0);
});
