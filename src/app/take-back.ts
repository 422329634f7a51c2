/** Cancels what a reference means: a callback, or a recurrence. */
import type { Ask } from "../pool/asks.ts";
import { type CancelAnswer, isLive } from "../schedule/callback.ts";
import type { Target } from "../schedule/store.ts";
import { checkRef, isRecurrenceId, type Ref } from "./refs.ts";

/**
 * By an id, the one that has it. By a key, which a callback and a recurrence may have each: the one that has not ended, the callback
 * first. So the answer never speaks of one that ended long ago while another of the same key goes on.
 */
export async function takeBack(ask: Ask, ref: Ref, abort: boolean): Promise<CancelAnswer> {
  checkRef(ref);
  const callback = (target: Target) => ask("schedule.cancel", { target, abort });
  const recurrence = (target: Target) => ask("recurrence.cancel", { target, abort });
  const byId = (id: string) => (isRecurrenceId(id) ? recurrence({ id }) : callback({ id }));
  if (typeof ref !== "string" && "id" in ref) return byId(ref.id);
  const key = typeof ref === "string" ? ref : ref.key;
  // Asked beside the try by id, so that it costs no time of its own.
  const asked = ask("recurrence.get", { target: { key } });
  asked.catch(() => undefined); // of no matter when it was an id
  if (typeof ref === "string") {
    const answer = await byId(ref);
    if (answer.answer !== "unknown") return answer;
  }
  const recurring = await asked;
  if (recurring === null || recurring.state === "ended") {
    const answer = await callback({ key });
    return answer.answer === "unknown" ? recurrence({ key }) : answer;
  }
  const namesake = await ask("schedule.get", { target: { key } });
  return namesake !== null && isLive(namesake.state) ? callback({ id: namesake.id }) : recurrence({ id: recurring.id });
}
