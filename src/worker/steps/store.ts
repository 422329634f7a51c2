/** The schedule store, with this worker enlisted as one that claims for the queues that it serves. */
import { randomUUID } from "node:crypto";
import { type Config, isEmbedded } from "../../app/config.ts";
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
    const { queues, config } = settings;
    const owner = { id: randomUUID(), queues, sendsOn: reachesOthers(config) };
    await store.enlist(owner, []);
    return { part: { store, owner }, stop: () => store.resign(owner) };
  },
};

/**
 * Whether a message that this worker sends on can reach who serves its queue: through a server it can. Through an embedded broker it reaches no
 * further than that broker; if the schedule does, other workers would never see it, and the callback would count as done.
 */
export function reachesOthers({ broker, schedule }: Pick<Config, "broker" | "schedule">): boolean {
  if (!isEmbedded(broker)) return true;
  return schemeOf(broker) === schemeOf(schedule);
}

function schemeOf(url: string): string {
  return url.slice(0, url.indexOf(":")).toLowerCase();
}
