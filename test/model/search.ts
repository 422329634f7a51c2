/**
 * Every state that a small model can get into, breadth first, so that the first fault found has the shortest trace.
 *
 * A model is a start, and the steps that may be taken from a state. A step of its own accord (a message arrives, time passes) is told from
 * one that need not happen (a fault, a wish of a client): what must end, must end by steps of the first kind alone. That is checked
 * on the whole graph, and without an assumption of fairness: no circle of such steps, and no way that stops before the end.
 */

export interface Step<State> {
  readonly name: string;
  readonly to: State;
  /** It need not happen: a fault, or what a client asks for. */
  readonly outside: boolean;
  /** What the step itself breaks. */
  readonly wrong?: string | undefined;
}

export interface Model<State> {
  readonly first: State;
  steps(state: State): readonly Step<State>[];
  /** Equal for states that nothing tells apart. */
  keyOf(state: State): string;
  /** What is wrong in this state, whatever led there. */
  wrongIn(state: State): string | undefined;
  /** Everything that had to happen has happened. */
  isDone(state: State): boolean;
}

export interface Finding {
  readonly what: string;
  /** Names of the steps that lead there. */
  readonly trace: readonly string[];
}

export interface Explored<State> {
  readonly states: number;
  readonly steps: number;
  readonly finding: Finding | undefined;
  /** Those that were seen, in the order of their distance from the start. */
  readonly seen: readonly State[];
}

interface Came {
  readonly from: number;
  readonly by: string;
}

/** @param most a model that grows beyond it is wrong itself */
export function explore<State>(model: Model<State>, most = 1_000_000): Explored<State> {
  const seen: State[] = [model.first];
  const came: (Came | undefined)[] = [undefined];
  const numbers = new Map<string, number>([[model.keyOf(model.first), 0]]);
  /** For each state, where its own accord leads. */
  const onward: number[][] = [];
  let steps = 0;
  const answer = (what?: string, trace: readonly string[] = []): Explored<State> => ({
    states: seen.length,
    steps,
    finding: what === undefined ? undefined : { what, trace },
    seen,
  });

  const atFirst = model.wrongIn(model.first);
  if (atFirst !== undefined) return answer(atFirst);
  for (let at = 0; at < seen.length; at++) {
    const ahead: number[] = [];
    for (const step of model.steps(seen[at] as State)) {
      const key = model.keyOf(step.to);
      let to = numbers.get(key);
      if (to === at && step.wrong === undefined) continue; // nothing changed
      steps += 1;
      const isNew = to === undefined;
      if (to === undefined) {
        to = seen.length;
        numbers.set(key, to);
        seen.push(step.to);
        came.push({ from: at, by: step.name });
        if (seen.length > most) throw new Error(`the model has more than ${most} states`);
      }
      const wrong = step.wrong ?? (isNew ? model.wrongIn(step.to) : undefined);
      if (wrong !== undefined) return answer(wrong, [...traceTo(at, came), step.name]);
      if (!step.outside) ahead.push(to);
    }
    onward.push(ahead);
  }
  const stuck = firstStuck(model, seen, onward);
  return stuck === undefined ? answer() : answer(stuck.what, traceTo(stuck.at, came));
}

export function traceTo(at: number, came: readonly (Came | undefined)[]): string[] {
  const trace: string[] = [];
  for (let each = came[at]; each !== undefined; each = came[each.from]) trace.push(each.by);
  return trace.reverse();
}

/** Where, with no further fault, it stops before the end, or may go round for ever. */
function firstStuck<State>(
  model: Model<State>,
  seen: readonly State[],
  onward: readonly (readonly number[])[],
): { readonly at: number; readonly what: string } | undefined {
  const stopped = onward.findIndex((ahead, at) => ahead.length === 0 && !model.isDone(seen[at] as State));
  if (stopped >= 0)
    return { at: stopped, what: "without further faults nothing happens any more, and it has not ended" };
  // Kahn: take away what nothing leads to, again and again; what is left goes round, or is led to from there.
  const ins = new Uint32Array(seen.length);
  for (const ahead of onward) for (const to of ahead) ins[to] = (ins[to] ?? 0) + 1;
  const free: number[] = [];
  for (let at = 0; at < seen.length; at++) if (ins[at] === 0) free.push(at);
  for (let at = free.pop(); at !== undefined; at = free.pop()) {
    for (const to of onward[at] ?? []) {
      ins[to] = (ins[to] as number) - 1;
      if (ins[to] === 0) free.push(to);
    }
  }
  const round = ins.findIndex((count) => count > 0);
  return round < 0 ? undefined : { at: round, what: "without further faults it may go round for ever" };
}
