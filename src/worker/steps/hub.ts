/** The event loop's timers. */
import type { Step } from "../../blueprint/step.ts";
import { Hub } from "../../hub/hub.ts";
import { settingsRef } from "../settings.ts";

export const hubStep: Step<Hub, { settings: typeof settingsRef }> = {
  name: "hub",
  needs: { settings: settingsRef },
  start({ settings }) {
    // A worker that waits is not done: its timers keep the process alive.
    const hub = new Hub({ clock: settings.clock, log: settings.log, ref: true });
    return { part: hub, stop: () => hub.stop() };
  },
};
