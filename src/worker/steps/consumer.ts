/** The Consumer blueprint, as the last step of the worker's: it starts when all else stands, and stops first. */
import type { Blueprint } from "../../blueprint/blueprint.ts";
import { given } from "../../blueprint/blueprint.ts";
import type { Step } from "../../blueprint/step.ts";
import type { AnyStep } from "../../blueprint/step-set.ts";
import { Consumer } from "../consumer.ts";
import { settingsRef } from "../settings.ts";
import { controlStep } from "./control.ts";
import { requestsStep } from "./requests.ts";
import { tasksStep } from "./tasks.ts";

/** The worker's own blueprint, so that consumer steps can need its parts. */
export const workerBlueprintRef = given<Blueprint>("worker-blueprint");

type ConsumerNeeds = {
  settings: typeof settingsRef;
  requests: typeof requestsStep;
  blueprint: typeof workerBlueprintRef;
};

export const consumerStep: Step<Consumer, ConsumerNeeds> = {
  name: "consumer",
  stopTimeoutMs: Number.POSITIVE_INFINITY,
  needs: { settings: settingsRef, requests: requestsStep, blueprint: workerBlueprintRef },
  last: true,
  async start({ settings, blueprint }, signal) {
    const { app, config, clock, log, hostname } = settings;
    const consumer = new Consumer({
      broker: await app.backends.readBroker(),
      steps: consumerSteps(app.steps.consumer),
      outer: blueprint,
      clock,
      log,
      connectTimeoutMs: config.brokerConnectionTimeoutMs,
      retry: config.brokerConnectionRetry,
      retryFirst: config.brokerConnectionRetryOnStartup ?? config.brokerConnectionRetry,
      maxRetries: config.brokerConnectionMaxRetries,
      name: hostname,
    });
    signal.addEventListener("abort", () => void consumer.stop(), { once: true });
    await consumer.start();
    return { part: consumer, stop: () => consumer.stop() };
  },
};

/** Celery's own consumer steps, and the app's. Commands are heard before tasks come. */
export function consumerSteps(own: Iterable<AnyStep>): AnyStep[] {
  return [controlStep, tasksStep, ...own];
}
