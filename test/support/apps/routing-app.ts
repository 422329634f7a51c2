/** The app of the routing tests: tasks that note by which exchange and key they came. Settings of the test's own in `TEST_SETTINGS`. */
import { appendFileSync } from "node:fs";
import { currentTask, Lovage } from "lovage";

export const app = new Lovage("routing", JSON.parse(process.env.TEST_SETTINGS ?? "{}"));

for (const name of ["plain", "video.cut", "image.png", "rush", "kept"]) {
  app.task(`js.${name}`, (word: unknown) => {
    const { exchange, routingKey, priority } = currentTask().request.deliveryInfo ?? {};
    const line = JSON.stringify(["ran", name, word, exchange, routingKey, priority]);
    appendFileSync(process.env.TEST_LEDGER ?? "/dev/null", `${line}\n`);
    return word;
  });
}

/** Sends from within a pool process, where no broker is open. */
app.task("js.relay", async (name: string, word: unknown) => {
  await app.signature(name, { args: [word] }).delay();
});
