/** Where messages and callbacks meet: the slots, the strategies, and what each needs to run. */

import type { Step } from "../../blueprint/step.ts";
import { Firing } from "../fire.ts";
import { Intake } from "../intake.ts";
import { Revoked } from "../revoked.ts";
import { settingsRef } from "../settings.ts";
import { Slots } from "../slots.ts";
import { Strategies } from "../strategy.ts";
import { poolStep } from "./pool.ts";
import { recorderStep } from "./recorder.ts";
import { storeStep } from "./store.ts";

export interface Requests {
  readonly slots: Slots;
  readonly intake: Intake;
  readonly firing: Firing;
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
    const quarantine = await app.backends.quarantine();
    const strategies = new Strategies(app.registry, config);
    const slots = new Slots(pool);
    const revoked = new Revoked(store);
    app.gateway.listenForRevoked((taskId) => revoked.mark(taskId));
    const context = { pool, recorder, revoked, clock, log, hostname };
    const intake = new Intake({
      strategies,
      slots,
      quarantine,
      recorder,
      put: (callbacks) => app.gateway.ask("schedule.put", { callbacks }),
      context,
      timezone: config.timezone,
      clock,
      log,
    });
    const firing = new Firing({
      pool,
      recorder,
      strategies,
      ask: app.gateway.ask,
      clock,
      log,
      hostname,
      queues: consumed.names,
      oneFile: config.backend === config.schedule,
    });
    return {
      part: { slots, intake, firing },
      stop() {
        intake.abandon();
        slots.close();
        revoked.stop();
      },
    };
  },
};
