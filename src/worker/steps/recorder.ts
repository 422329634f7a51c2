/** What writes results; without a result backend it only logs. Old results are removed in small steps. */
import type { Step } from "../../blueprint/step.ts";
import { Recorder } from "../record.ts";
import { settingsRef } from "../settings.ts";
import { timerStep } from "./timer.ts";

const SWEEP_SECONDS = 10;
const SWEEP_LIMIT = 500;

export const recorderStep: Step<Recorder, { settings: typeof settingsRef; timer: typeof timerStep }> = {
  name: "recorder",
  needs: { settings: settingsRef, timer: timerStep },
  async start({ settings, timer }) {
    const { app, config, hostname, clock, log } = settings;
    const results = config.backend === undefined ? undefined : await app.backends.results();
    const recorder = new Recorder({ results, config, hostname, clock, log });
    const sweep = timer.callRepeatedly(SWEEP_SECONDS, async () => {
      while ((await results?.sweep(SWEEP_LIMIT)) === SWEEP_LIMIT);
    });
    return { part: recorder, stop: () => sweep.cancel() };
  },
};
