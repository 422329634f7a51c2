/**
 * Options of tasks that an operator sets from outside, over what their code says: Celery's `task_annotations`. "*" is every task; a glob and a
 * name come after it, in this order, each over the one before.
 */
import { InvalidConfigError } from "../kit/errors.ts";
import { globToRegExp, isGlob } from "../kit/glob.ts";
import type { Rule } from "../kit/options.ts";
import { textOf } from "../kit/printable.ts";
import { camelCase } from "./setting-rules.ts";
import type { TaskOptions } from "./task-options.ts";

export type TaskAnnotations = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** One of them, read: names in camelCase. */
export interface Annotation {
  /** A name is itself; a glob is its pattern. */
  readonly task: string | RegExp;
  readonly options: Readonly<Record<string, unknown>>;
}

/** @throws {InvalidConfigError} names each annotation that is wrong */
export const annotationsRule: Rule<readonly Annotation[]> = (value, what) => {
  const problems: string[] = [];
  const read: Annotation[] = [];
  for (const table of Array.isArray(value) ? value : [value]) {
    if (!isPlain(table)) {
      problems.push(`${what} must be an object by the names of tasks, not ${textOf(table, 80)}`);
      continue;
    }
    for (const [task, given] of Object.entries(table)) {
      if (!isPlain(given)) {
        problems.push(`${what}[${JSON.stringify(task)}] must be an object of options, not ${textOf(given, 80)}`);
        continue;
      }
      const options = Object.fromEntries(Object.entries(given).map(([name, each]) => [camelCase(name), each]));
      read.push({ task: isGlob(task) ? globToRegExp(task) : task, options });
    }
  }
  if (problems.length > 0) throw new InvalidConfigError(problems);
  return read.toSorted((a, b) => rank(a) - rank(b));
};

/** The task's options with what is set from outside over them. */
export function annotated(
  name: string,
  options: TaskOptions,
  annotations: readonly Annotation[] | undefined,
): TaskOptions {
  if (annotations === undefined) return options;
  const over = annotations.filter(({ task }) => (typeof task === "string" ? task === name : task.test(name)));
  return over.length === 0 ? options : Object.assign({}, options, ...over.map((each) => each.options));
}

function rank({ task }: Annotation): number {
  if (typeof task === "string") return 2;
  return task.source === globToRegExp("*").source ? 0 : 1;
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
