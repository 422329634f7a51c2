/**
 * The seed's demo: a task counts down, and a durable callback that it scheduled then prints your IP.
 *
 * The task runs in a sub-process, which has no timer of the worker's to hold. It asks the worker instead, and gets an
 * answer: the callback is on disk, in the one schedule that every process can read and change.
 */
import { setTimeout as wait } from "node:timers/promises";
import { currentTask, Lovage } from "lovage";

// Broker, results and schedule are the environment's to say (LOVAGE_BROKER_URL …); by default all three are ./lovage.db.
export const app = new Lovage("demo", { taskDefaultQueue: "lovage-demo" });

const SECONDS = 5;
const IP_URL = process.env.DEMO_IP_URL ?? "http://httpbin.org/ip";

/** Asks who we are, and says it. */
export const scream = app.task("demo.scream", async (word: string) => {
  const { log, signal } = currentTask();
  const response = await fetch(IP_URL, { signal });
  if (!response.ok) throw new Error(`${IP_URL} answered ${response.status}`);
  const { origin } = (await response.json()) as { origin: string };
  log.info(`${word.toUpperCase()}! Your IP is: ${origin}`);
  return origin;
});

/** Schedules the scream, and counts the seconds until it comes. */
export const foo = app.task("demo.foo", async (word: string) => {
  const { log, request, signal } = currentTask();
  // The key makes it one callback, however often this message is delivered.
  const callback = await scream.callAfter(SECONDS, [word], { key: `scream:${request.id}` });
  log.info(`scheduled callback ${callback.id} for ${callback.due.toISOString()}`);
  for (let left = SECONDS; left > 0; left -= 1) {
    log.info(`${left}...`);
    await wait(1_000, undefined, { signal });
  }
  return callback.id;
});
