/**
 * A process that uses the broker in the embedded file: `FILE hold|work|publish …`. It says what happened, a line each.
 *
 *   hold PREFETCH       consume "q" and acknowledge nothing
 *   work PREFETCH       fill the window with messages of "q"; after SIGUSR2, and for those that follow: publish
 *                       `PID TEXT REDELIVERED` to "done", then acknowledge; on SIGTERM close, and end
 *   publish FROM UNTIL  publish these numbers to "q", all at once, and end
 */
import type { Delivery } from "../../src/brokers/broker.ts";
import { openSqliteBroker } from "../../src/brokers/sqlite.ts";

const [path = "", mode, ...numbers] = process.argv.slice(2);
const [first = 0, until = 0] = numbers.map(Number);
const say = (line: string) => void process.stdout.write(`${line}\n`);
const wire = (text: string) => ({ body: Buffer.from(text), properties: {}, headers: { task: "demo.foo" } });

const broker = await openSqliteBroker(path);
const connection = await broker.connect({ name: "child", timeoutMs: 60_000 });
await connection.declareQueue("q");
await connection.declareQueue("done");
const textOf = ({ message }: Delivery) => Buffer.from(message.body).toString();

if (mode === "publish") {
  const publish = async (n: number) => {
    await connection.publish({ exchange: "", routingKey: "q" }, wire(String(n)));
    say(`confirmed ${n}`);
  };
  await Promise.all(Array.from({ length: until - first }, (_, i) => publish(first + i)));
  await connection.close();
  await broker.close();
} else {
  // A consumer alone keeps no process alive.
  const alive = setInterval(() => undefined, 60_000);
  await connection.setPrefetch(first);
  if (mode === "hold") {
    await connection.consume("q", (delivery) => say(`got ${textOf(delivery)} ${delivery.redelivered}`));
  } else {
    const go = Promise.withResolvers<void>();
    process.on("SIGUSR2", () => go.resolve());
    process.on("SIGTERM", async () => {
      await connection.close();
      await broker.close();
      clearInterval(alive);
    });
    let inHand = 0;
    await connection.consume("q", async (delivery) => {
      inHand += 1;
      if (inHand === first) say("full");
      await go.promise;
      const note = `${process.pid} ${textOf(delivery)} ${delivery.redelivered}`;
      await connection.publish({ exchange: "", routingKey: "done" }, wire(note));
      await delivery.ack();
    });
  }
  say("consuming");
}
