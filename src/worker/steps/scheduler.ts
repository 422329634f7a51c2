/** Fires callbacks into the pool when they are due. */
import type { Step } from "../../blueprint/step.ts";
import { Scheduler } from "../../schedule/scheduler.ts";
import { ABORT_GRACE_MS } from "../remote-control.ts";
import { settingsRef } from "../settings.ts";
import { hubStep } from "./hub.ts";
import { requestsStep } from "./requests.ts";
import { storeStep } from "./store.ts";

type SchedulerNeeds = {
  settings: typeof settingsRef;
  hub: typeof hubStep;
  owned: typeof storeStep;
  requests: typeof requestsStep;
};

export const schedulerStep: Step<Scheduler, SchedulerNeeds> = {
  name: "scheduler",
  stopTimeoutMs: Number.POSITIVE_INFINITY,
  needs: { settings: settingsRef, hub: hubStep, owned: storeStep, requests: requestsStep },
  async start({ settings, hub, owned: { store, owner }, requests: { slots, firing } }) {
    const { app, clock, config, log } = settings;
    const scheduler = new Scheduler({
      store,
      owner,
      hub,
      clock,
      log,
      events: app.schedule.events,
      leaseMs: config.scheduleLeaseMs,
      slots: { reserve: () => slots.reserve(), release: (count) => slots.release(count) },
      fire: (claim, lateMs) => firing.fire(claim, lateMs, () => slots.release(1)),
      onEnded: (ended) => firing.ended(ended),
      onSettled: (callback, end) => firing.settled(callback, end),
      onAbort: (id, token) => firing.abort(id, token, "terminated", ABORT_GRACE_MS),
    });
    slots.onCallbackTurn(() => scheduler.noticeFree());
    app.gateway.listenForDue((dueMs) => scheduler.noticeDue(dueMs));
    await scheduler.start();
    return { part: scheduler, stop: () => scheduler.stop() };
  },
};
