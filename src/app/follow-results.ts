/** The other end of a watch (`result-watches.ts`): the documents of some tasks, one after the other, asked for through the gateway. */
import type { Clock } from "../kit/clock.ts";
import { TimeoutError } from "../kit/errors.ts";
import type { Ask } from "../pool/asks.ts";
import { READY_STATES, type ResultDocument } from "../protocol/result.ts";

export interface FollowOptions {
  readonly taskIds: readonly string[];
  readonly endsOnly: boolean;
  /** Infinite: no limit. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Who is waited for, for the error: "task 5". */
  readonly what: string;
}

/** One question is this long at most. */
const STEP_MS = 20_000;

/**
 * Until each task has ended.
 * @throws {TimeoutError} they have not all ended in time; the reason of the signal
 */
export async function* followResults(
  { ask, clock }: { readonly ask: Ask; readonly clock: Clock },
  { taskIds, endsOnly, timeoutMs, signal, what }: FollowOptions,
): AsyncGenerator<ResultDocument, void, undefined> {
  const left = new Set(taskIds);
  const endMs = clock.monoMs() + timeoutMs;
  /** What was told last of each task that has not ended: a new watch tells it again. */
  const told = new Map<string, string>();
  let watch: string | undefined;
  const close = () => {
    if (watch !== undefined) ask("result.unwatch", { watch }).catch(() => undefined);
    watch = undefined;
  };
  signal?.addEventListener("abort", close, { once: true });
  try {
    while (left.size > 0) {
      signal?.throwIfAborted();
      const leftMs = endMs - clock.monoMs();
      watch ??= await ask("result.watch", { taskIds: [...left], endsOnly });
      const documents = await ask("result.changes", { watch, timeoutMs: Math.max(0, Math.min(leftMs, STEP_MS)) });
      signal?.throwIfAborted();
      // It was given up, or its worker is another one now.
      if (documents === null) watch = undefined;
      for (const document of documents ?? []) {
        const { task_id: id, status, result } = document;
        if (!left.has(id)) continue;
        if (READY_STATES.has(status)) {
          left.delete(id);
          told.delete(id);
        } else {
          if (told.get(id) === status + result) continue;
          told.set(id, status + result);
        }
        yield document;
      }
      if (left.size > 0 && clock.monoMs() >= endMs && (documents ?? []).length === 0) {
        throw new TimeoutError(`${what} ${left.size === 1 ? "has" : "have"} not ended within ${timeoutMs / 1_000} s`);
      }
    }
  } finally {
    signal?.removeEventListener("abort", close);
    close();
  }
}
