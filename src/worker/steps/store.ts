/** The schedule store, with this worker enlisted as one that claims for the queues that it serves. */
import { randomUUID } from "node:crypto";
import type { Step } from "../../blueprint/step.ts";
import type { Owner, ScheduleStore } from "../../schedule/store.ts";
import { settingsRef } from "../settings.ts";

export interface OwnedStore {
  readonly store: ScheduleStore;
  readonly owner: Owner;
}

export const storeStep: Step<OwnedStore, { settings: typeof settingsRef }> = {
  name: "schedule-store",
  needs: { settings: settingsRef },
  async start({ settings }) {
    const store = await settings.app.backends.store();
    const owner = { id: randomUUID(), queues: settings.queues };
    await store.enlist(owner, []);
    return { part: { store, owner }, stop: () => store.resign(owner) };
  },
};
