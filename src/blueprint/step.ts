/**
 * A bootstep: one part of a running program, with what it needs. A step is a value; its needs are typed and named by
 * other steps, it starts after them and stops before them. Nothing is hung on a shared worker object.
 */

/** Phantom, so that the type of the part can be read off a step. */
declare const part: unique symbol;

/** What names a part: a step, or a part given from outside (`given`). */
export interface StepRef<out Part> {
  readonly name: string;
  readonly [part]?: Part;
}

export type Needs = Readonly<Record<string, StepRef<unknown>>>;
export type PartOf<Ref> = Ref extends StepRef<infer Part> ? Part : never;
export type PartsOf<N extends Needs> = { readonly [K in keyof N]: PartOf<N[K]> };

export interface Started<Part> {
  /** What steps that need this one are given. */
  readonly part?: Part;
  /**
   * Undo `start`. It is called once for each `start` that succeeded, also when the boot was given up meanwhile. The blueprint
   * waits for it until its deadline; `signal` is aborted when the deadline has passed.
   */
  stop?(signal: AbortSignal): void | Promise<void>;
}

/** A step that starts something with nothing to stop and nothing to give may return nothing. */
// biome-ignore lint/suspicious/noConfusingVoidType: it is what a function without a return statement returns
export type StartAnswer<Part> = Started<Part> | void;

// biome-ignore lint/complexity/noBannedTypes: {} is "needs nothing"
export interface Step<Part = undefined, N extends Needs = {}> extends StepRef<Part> {
  /** Unique in its blueprint: lower case, words joined by "-". */
  readonly name: string;
  /** Parts that `start` is given, by the names it uses for them. */
  readonly needs?: N;
  /** It starts after every other step that is not `last`, and stops before them. So does a step that needs a last one. */
  readonly last?: boolean;
  /** How long its stop may take, ms; Infinity for one that waits for work in progress. Default: the blueprint's. */
  readonly stopTimeoutMs?: number;
  /** `signal` is aborted when the boot is given up. */
  start(parts: PartsOf<N>, signal: AbortSignal): StartAnswer<Part> | Promise<StartAnswer<Part>>;
}

/** A step whose types no longer matter: the blueprint has checked them by name. */
export type AnyStep = Step<unknown, Needs>;

/** Names a part that the blueprint is given and no step makes. */
export function given<Part>(name: string): StepRef<Part> {
  return { name };
}

/** The step itself: lets the compiler find its types, where it is written apart from the set that it is added to. */
// biome-ignore lint/complexity/noBannedTypes: {} is "needs nothing"
export function defineStep<Part = undefined, N extends Needs = {}>(step: Step<Part, N>): Step<Part, N> {
  return step;
}
