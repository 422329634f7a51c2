/**
 * What the compiler must make of bootsteps. Nothing here runs: `tsc` passes, or it does not. An error that must be there is
 * marked with `@ts-expect-error`, which fails when it is not.
 */
import { Blueprint } from "../../src/blueprint/blueprint.ts";
import { type AnyStep, defineStep, given, type PartOf, type Step, type StepRef } from "../../src/blueprint/step.ts";
import { StepSet } from "../../src/blueprint/step-set.ts";
import type { Timer } from "../../src/hub/timer.ts";
import type { Clock } from "../../src/kit/clock.ts";
import type { Logger } from "../../src/kit/log.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(equal: Equal<A, B>): void;
declare const timerStep: Step<Timer, { hub: StepRef<object> }>;
declare const clock: Clock;
declare const log: Logger;
declare function ping(): Promise<void>;

const steps = new StepSet();

// The bootstep of the manual: types are found by inference, with no annotation.
steps.add({
  name: "presence",
  needs: { timer: timerStep },
  start({ timer }) {
    same<typeof timer, Timer>(true);
    const entry = timer.callRepeatedly(10, ping);
    return { stop: () => entry.cancel() };
  },
});

// Async, with a signal, several needs, and a part of its own.
const cache = defineStep({
  name: "cache",
  needs: { timer: timerStep, limit: given<number>("limit") },
  async start({ timer, limit }, signal) {
    same<typeof limit, number>(true);
    same<typeof signal, AbortSignal>(true);
    timer.callAfter(limit, ping);
    return {
      part: new Map<string, number>(),
      async stop(late) {
        same<typeof late, AbortSignal>(true);
      },
    };
  },
});
same<PartOf<typeof cache>, Map<string, number>>(true);
steps.add(cache);
steps.add({
  name: "reader",
  needs: { cache },
  start: ({ cache: entries }) => {
    same<typeof entries, Map<string, number>>(true);
  },
});

// Nothing needed, nothing to stop, nothing to give.
steps.add({ name: "hello", start() {} });
steps.add({ name: "hello-later", async start() {} });
steps.add({ name: "at-the-end", last: true, start: () => ({}) });

// Every step is one of no particular type, without a cast.
const all: AnyStep[] = [timerStep, cache, ...steps];
const blueprint = new Blueprint("worker", {
  steps: all,
  log,
  clock,
  stopTimeoutMs: 1_000,
  given: [[given("limit"), 5]],
});
same<ReturnType<typeof partOfTimer>, Timer>(true);
function partOfTimer() {
  return blueprint.part(timerStep);
}

steps.add({
  name: "wrong-need",
  needs: { timer: timerStep },
  start({ timer }) {
    // @ts-expect-error the timer has no such method
    timer.callSometime(1, ping);
  },
});
steps.add({
  name: "undeclared-need",
  needs: { timer: timerStep },
  // @ts-expect-error only what was declared as a need is given
  start({ pool }) {
    void pool;
  },
});
steps.add({
  name: "no-step",
  // @ts-expect-error a need is a step or a given part
  needs: { timer: 5 },
  start() {},
});
// @ts-expect-error a step has a start
steps.add({ name: "no-start" });
// @ts-expect-error stop takes a signal and answers nothing
steps.add({ name: "wrong-stop", start: () => ({ stop: (seconds: number) => seconds }) });
// @ts-expect-error a step of one part is no step of another
const wrongPart: Step<Date> = defineStep({ name: "text", start: () => ({ part: "text" }) });
void wrongPart;
