/** `worker.timer`: in memory, for bootsteps. It lives as long as the worker, whatever becomes of the broker's connection. */
import type { Step } from "../../blueprint/step.ts";
import { Timer } from "../../hub/timer.ts";
import { settingsRef } from "../settings.ts";
import { hubStep } from "./hub.ts";

export const timerStep: Step<Timer, { settings: typeof settingsRef; hub: typeof hubStep }> = {
  name: "timer",
  needs: { settings: settingsRef, hub: hubStep },
  // What waits in it goes with the hub.
  start: ({ settings, hub }) => ({ part: new Timer(hub, settings.clock) }),
};
