/** Where a task goes: Celery's `task_routes` (PROTOCOL 4, step 3). */

/** What a route says; explicit options of the call win over it. */
export interface RouteOptions {
  readonly queue?: string;
  readonly exchange?: string;
  readonly routingKey?: string;
  readonly priority?: number;
}

/** Undefined: this one does not know; the next is asked. */
export type Router = (
  task: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
) => RouteOptions | string | undefined | null;

/** By exact name, else by glob, in order. */
export type RouteTable = Readonly<Record<string, RouteOptions | string>>;

/** One router, or several of which the first that knows wins. A pattern stands before its route. */
export type Routes =
  | RouteTable
  | Router
  | readonly (RouteTable | Router | readonly [string | RegExp, RouteOptions | string])[];
