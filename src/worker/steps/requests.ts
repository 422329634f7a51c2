/** Where messages and callbacks meet: the slots, the strategies, and what each needs to run. */
import { callOfSignature } from "../../app/signature-call.ts";
import type { Step } from "../../blueprint/step.ts";
import { Aftermath } from "../aftermath.ts";
import { Firing } from "../fire.ts";
import { Followers } from "../followers.ts";
import { Intake } from "../intake.ts";
import { Losses } from "../losses.ts";
import { NextRuns } from "../next-run.ts";
import { Parking } from "../parking.ts";
import { Past } from "../past.ts";
import { Refusals } from "../refusals.ts";
import { Revoked } from "../revoked.ts";
import { settingsRef } from "../settings.ts";
import { Slots } from "../slots.ts";
import { Strategies } from "../strategy.ts";
import { TaskEvents } from "../task-events.ts";
import { poolStep } from "./pool.ts";
import { recorderStep } from "./recorder.ts";
import { storeStep } from "./store.ts";

export interface Requests {
  readonly slots: Slots;
  readonly intake: Intake;
  readonly firing: Firing;
  readonly parking: Parking;
  /** The life of each task, to be listened to. */
  readonly events: TaskEvents;
}

type RequestsNeeds = {
  settings: typeof settingsRef;
  owned: typeof storeStep;
  pool: typeof poolStep;
  recorder: typeof recorderStep;
};

export const requestsStep: Step<Requests, RequestsNeeds> = {
  name: "requests",
  needs: { settings: settingsRef, owned: storeStep, pool: poolStep, recorder: recorderStep },
  async start({ settings, owned: { store }, pool, recorder }) {
    const { app, clock, config, hostname, log, consumed } = settings;
    const { ask } = app.gateway;
    const quarantine = await app.backends.quarantine();
    const results = config.backend === undefined ? undefined : await app.backends.results();
    const addressing = { config, queues: app.queues, clock };
    const strategies = new Strategies(app.registry, config);
    const slots = new Slots(pool);
    const revoked = new Revoked(store);
    app.gateway.listenForRevoked((tombstone, ending) => revoked.mark(tombstone, ending));
    const parking = new Parking({ put: (callbacks) => ask("schedule.put", { callbacks }), clock, log });
    const { park } = parking;
    const address = (call: Parameters<typeof callOfSignature>[0]) =>
      callOfSignature(call, app.registry.get(call.signature.task)?.options ?? {}, addressing);
    const followers = new Followers({ recorder, ask, park, address, clock, log });
    const shared = {
      pool,
      recorder,
      revoked,
      aftermath: new Aftermath(recorder, followers),
      nextRuns: new NextRuns({
        ask,
        park,
        queues: consumed.names,
        reachedBy: (exchange, routingKey) => app.queues.reachedBy(exchange, routingKey)?.name,
        log,
      }),
      events: new TaskEvents(log),
      clock,
      log,
      hostname,
    };
    const refusals = new Refusals({ quarantine, clock, log, giveUp: parking.givenUp });
    const intake = new Intake({
      strategies,
      slots,
      refusals,
      recorder,
      park,
      context: {
        ...shared,
        refusals,
        past: new Past({ deduplicates: config.workerDeduplicateSuccessfulTasks, results, clock, log }),
        losses: new Losses({ store, clock, log }),
      },
      cancelsWhenLost: config.workerCancelLongRunningTasksOnConnectionLoss,
      timezone: config.timezone,
      accept: await app.formats.accept(config.acceptContent),
      clock,
      log,
    });
    const firing = new Firing({
      ...shared,
      strategies,
      ask,
      queues: consumed.names,
      takeToken: (task) => intake.takeToken(task),
      oneFile: config.backend === config.schedule,
    });
    return {
      part: { slots, intake, firing, parking, events: shared.events },
      stop() {
        parking.giveUp();
        slots.close();
        revoked.stop();
      },
    };
  },
};
