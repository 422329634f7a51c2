/** Consumes the worker's queues (Celery's Tasks step). Stopping it takes nothing more in, and lets what runs finish. */
import type { Step } from "../../blueprint/step.ts";
import { connectionRef } from "../consumer.ts";
import { settingsRef } from "../settings.ts";
import { requestsStep } from "./requests.ts";

type TasksNeeds = { settings: typeof settingsRef; connection: typeof connectionRef; requests: typeof requestsStep };

export const tasksStep: Step<undefined, TasksNeeds> = {
  name: "tasks",
  stopTimeoutMs: Number.POSITIVE_INFINITY,
  needs: { settings: settingsRef, connection: connectionRef, requests: requestsStep },
  async start({ settings, connection, requests: { intake } }) {
    const { queues, concurrency, config } = settings;
    for (const queue of queues) await connection.declareQueue(queue);
    await connection.setPrefetch(config.workerPrefetchMultiplier * concurrency);
    const consumers = await Promise.all(queues.map((queue) => connection.consume(queue, intake.receive)));
    let lost = false;
    void connection.closed.then(() => {
      lost = true;
    });
    return {
      async stop() {
        await Promise.all(consumers.map((each) => each.cancel()));
        await intake.returnWaiting();
        // On a lost connection the broker has taken back everything: what runs goes on, and its acks go nowhere.
        if (!lost) await Promise.race([intake.idle(), connection.closed]);
      },
    };
  },
};
