/**
 * Where a task goes: Celery's `task_routes` (PROTOCOL 4, step 3). Routers are asked in order, and the first that knows the task
 * wins; within one table an exact name goes before its patterns, and those go in order.
 */
import { InvalidConfigError, InvalidInputError, messageOf } from "../kit/errors.ts";
import { globToRegExp, isGlob } from "../kit/glob.ts";
import { flag, type Rule, type Rules, suggest, text, whole } from "../kit/options.ts";
import { textOf } from "../kit/printable.ts";
import { camelCase, compressionName, deliveryMode, serializerName, table } from "./setting-rules.ts";

/** What a route says, in camelCase or in Celery's spelling; options of the call and of the task win over it. */
export type RouteOptions = RouteFields & { readonly [celeryName: `${string}_${string}`]: unknown };

interface RouteFields {
  readonly queue?: string;
  /** With `routingKey`: instead of the queue's own. */
  readonly exchange?: string;
  readonly routingKey?: string;
  /** Of an `exchange` that no queue of the app has. Default: the queue's. */
  readonly exchangeType?: string;
  readonly priority?: number;
  readonly deliveryMode?: 1 | 2 | "persistent" | "transient";
  readonly serializer?: string;
  readonly compression?: string;
  /** Default: `taskPublishRetry`, `taskPublishRetryPolicy`. */
  readonly retry?: boolean;
  readonly retryPolicy?: Readonly<Record<string, unknown>>;
}

/** Undefined: this one does not know; the next is asked. */
export type Router = (
  task: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: Readonly<Record<string, unknown>>,
) => RouteOptions | string | undefined | null;

/** By exact name, else by glob, in order. */
export type RouteTable = Readonly<Record<string, RouteOptions | string>>;

/** A pattern before its route. A RegExp is looked for anywhere in the name, as in JavaScript: begin it with ^ for Python's `match`. */
export type RoutePair = readonly [string | RegExp, RouteOptions | string];

/** One router, or several of which the first that knows wins. Pairs that follow each other are one table. */
export type Routes = RouteTable | Router | readonly (RouteTable | Router | RoutePair | readonly RoutePair[])[];

/** A route as it was read: camelCase names, checked. */
export type Route = Omit<RouteFields, "deliveryMode"> & { readonly deliveryMode?: 1 | 2 };

/** One of `taskRoutes`, read. */
export type RouteStep = (call: RoutedCall) => Route | undefined;

export interface RoutedCall {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  /** The options of the call and of the task, together. */
  readonly options: Readonly<Record<string, unknown>>;
}

const ROUTE_RULES: Rules = {
  queue: text(),
  exchange: name,
  routingKey: name,
  exchangeType: text(),
  priority: whole({ max: 255 }),
  deliveryMode,
  serializer: serializerName,
  compression: compressionName,
  retry: flag(),
  retryPolicy: table(),
};

/** `taskRoutes`, read. @throws {InvalidConfigError} names each route that is wrong */
export const routesRule: Rule<readonly RouteStep[]> = (value, what) => {
  const problems: string[] = [];
  const steps: RouteStep[] = [];
  let pairs: [unknown, unknown][] = [];
  const endPairs = () => {
    if (pairs.length > 0) steps.push(tableStep(pairs, what, problems));
    pairs = [];
  };
  for (const each of Array.isArray(value) ? value : [value]) {
    if (isPair(each)) {
      pairs.push(each);
      continue;
    }
    endPairs();
    if (typeof each === "function") steps.push(functionStep(each as Router, what));
    else if (Array.isArray(each) && each.every(isPair)) steps.push(tableStep(each, what, problems));
    else if (isPlain(each)) steps.push(tableStep(Object.entries(each), what, problems));
    else problems.push(`${what} takes tables, functions and [pattern, route] pairs, not ${shownRouter(each)}`);
  }
  endPairs();
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return steps;
};

/** What the first router that knows the task says; undefined: none does. @throws {InvalidInputError} a function's answer is no route */
export function routeOf(steps: readonly RouteStep[] | undefined, call: RoutedCall): Route | undefined {
  if (steps === undefined) return undefined;
  for (const step of steps) {
    const route = step(call);
    if (route !== undefined) return route;
  }
  return undefined;
}

function tableStep(entries: Iterable<readonly [unknown, unknown]>, what: string, problems: string[]): RouteStep {
  const exact = new Map<string, Route>();
  const patterns: [RegExp, Route][] = [];
  for (const [key, value] of entries) {
    // Python's None: this one says nothing.
    if (value === null || value === undefined) continue;
    const shown = `${what}[${key instanceof RegExp ? String(key) : textOf(JSON.stringify(key), 80)}]`;
    if (typeof key !== "string" && !(key instanceof RegExp)) {
      problems.push(`${shown}: a route is found by a text or a RegExp`);
      continue;
    }
    const route = readRoute(value, shown, problems);
    if (key instanceof RegExp) patterns.push([new RegExp(key.source, key.flags.replace("g", "")), route]);
    else if (isGlob(key)) patterns.push([globToRegExp(key), route]);
    else exact.set(key, route);
  }
  return ({ task }) => {
    const found = exact.get(task);
    if (found !== undefined) return found;
    for (const [pattern, route] of patterns) {
      pattern.lastIndex = 0; // of a sticky one
      if (pattern.test(task)) return route;
    }
    return undefined;
  };
}

function functionStep(router: Router, what: string): RouteStep {
  return ({ task, args, kwargs, options }) => {
    const answer: unknown = router(task, args, kwargs, options);
    if (answer === undefined || answer === null) return undefined;
    const shown = `${what}: what ${router.name || "the function"} answered for ${JSON.stringify(task)}`;
    if (answer instanceof Promise) {
      // Nobody will look at it any more.
      answer.catch(() => undefined);
      throw new InvalidInputError(`${shown} is a promise: a router answers at once`);
    }
    const problems: string[] = [];
    const route = readRoute(answer, shown, problems);
    if (problems.length > 0) throw new InvalidInputError(problems.join("; "));
    return route;
  };
}

function readRoute(value: unknown, what: string, problems: string[]): Route {
  if (typeof value === "string") {
    if (value === "") problems.push(`${what} must name a queue, and is empty`);
    return { queue: value };
  }
  if (!isPlain(value)) {
    problems.push(
      `${what} must be the name of a queue, or an object such as { queue: "mail" }, not ${textOf(value, 80)}`,
    );
    return {};
  }
  const route: Record<string, unknown> = {};
  for (const [given, each] of Object.entries(value)) {
    if (each === undefined || each === null) continue;
    const known = camelCase(given);
    const rule = Object.hasOwn(ROUTE_RULES, known) ? ROUTE_RULES[known] : undefined;
    if (rule === undefined) {
      const near = suggest(known, Object.keys(ROUTE_RULES));
      problems.push(`${what} has ${textOf(JSON.stringify(given), 80)}, which a route cannot say${near}`);
      continue;
    }
    try {
      route[known] = rule(each, `${what}.${given}`);
    } catch (error) {
      problems.push(messageOf(error));
    }
  }
  return route;
}

/** Text; "" is AMQP's default exchange, or no key. */
function name(value: unknown, what: string): string {
  if (typeof value === "string") return value;
  throw new TypeError(`${what} must be text`);
}

function isPair(value: unknown): value is [unknown, unknown] {
  return Array.isArray(value) && value.length === 2 && (typeof value[0] === "string" || value[0] instanceof RegExp);
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof RegExp);
}

function shownRouter(value: unknown): string {
  if (typeof value !== "string") return textOf(value, 80);
  return `${textOf(JSON.stringify(value), 80)}: give the function itself, not its name`;
}
