/**
 * From a message's arguments to the handler's. Python callers pass by name; JavaScript functions take by place, and their
 * parameters' names cannot be read. So a task says its names (`params`), and nothing is guessed: what does not fit fails
 * the task with the words that Python would have.
 */
import type { TaskFailure } from "../pool/pool.ts";
import { failureOf } from "./failure.ts";
import type { RegisteredTask, StandardSchema } from "./task-options.ts";

export type Bound = { readonly args: readonly unknown[] } | { readonly failure: TaskFailure };

/** Issues of a schema that are told; the first ones say enough. */
const MAX_ISSUES = 5;

type Args = readonly unknown[];
type Kwargs = Readonly<Record<string, unknown>>;

/** The arguments to call the handler with. Rejects only with what the user's own schema throws. */
export function bindArguments(task: RegisteredTask, args: Args, kwargs: Kwargs): Bound | Promise<Bound> {
  const { params, input } = task.options;
  if (params === undefined) {
    const [unexpected] = Object.keys(kwargs);
    return unexpected === undefined ? { args } : typeError(unexpectedKeyword(task.name, unexpected));
  }
  const bound = byNames(task.name, params, args, kwargs);
  return input === undefined || "failure" in bound ? bound : validated(task.name, params, input, bound.args);
}

function byNames(name: string, params: readonly string[], args: Args, kwargs: Kwargs): Bound {
  if (args.length > params.length) {
    const takes = `${params.length} positional argument${params.length === 1 ? "" : "s"}`;
    return typeError(`${name}() takes ${takes} but ${args.length} ${args.length === 1 ? "was" : "were"} given`);
  }
  const keys = Object.keys(kwargs);
  if (keys.length === 0) return { args };
  const bound = [...args];
  for (const key of keys) {
    const at = params.indexOf(key);
    if (at < 0) return typeError(unexpectedKeyword(name, key));
    if (at < args.length) return typeError(`${name}() got multiple values for argument '${key}'`);
    // What lies between is left undefined: the handler's own defaults apply.
    while (bound.length < at) bound.push(undefined);
    bound[at] = kwargs[key];
  }
  return { args: bound };
}

async function validated(name: string, params: readonly string[], input: StandardSchema, args: Args): Promise<Bound> {
  const given = params.flatMap((param, i) => (i < args.length && args[i] !== undefined ? [[param, args[i]]] : []));
  const result = await input["~standard"].validate(Object.fromEntries(given));
  if (result.issues !== undefined) {
    const issues = result.issues.slice(0, MAX_ISSUES).map(({ message, path }) => `${place(path)}${message}`);
    const more = result.issues.length > MAX_ISSUES ? `; and ${result.issues.length - MAX_ISSUES} more` : "";
    return invalid(`${name}() got invalid arguments: ${issues.join("; ")}${more}`);
  }
  const { value } = result;
  if (typeof value !== "object" || value === null) {
    return invalid(`${name}(): the schema given as "input" must answer an object by the names in "params"`);
  }
  const checked = params.map((param) => (Object.hasOwn(value, param) ? (value as Kwargs)[param] : undefined));
  // As many as were given, or as the schema filled in: a handler may count its arguments.
  let count = params.length;
  while (count > args.length && checked[count - 1] === undefined) count -= 1;
  return { args: checked.slice(0, count) };
}

/** `address.zip: `; a path's part is a key, or an object that holds one. */
function place(path: readonly unknown[] | undefined): string {
  if (path === undefined || path.length === 0) return "";
  const keys = path.map((part) => String(typeof part === "object" && part !== null && "key" in part ? part.key : part));
  return `${keys.join(".")}: `;
}

function unexpectedKeyword(name: string, key: string): string {
  return `${name}() got an unexpected keyword argument '${key}'`;
}

function typeError(message: string): Bound {
  return { failure: failureOf("TypeError", "builtins", message) };
}

function invalid(message: string): Bound {
  return { failure: failureOf("ValidationError", null, message) };
}
