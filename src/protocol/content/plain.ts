/** Values without what only Python has a type for. */
import { TypedValue } from "../typed-value.ts";

/** The value with texts in place of those of Python's types that the format has no word for. */
export function withoutTyped(value: unknown, hasWord: (value: TypedValue) => boolean = () => false): unknown {
  if (value instanceof TypedValue) return hasWord(value) ? value : value.value;
  if (Array.isArray(value)) return value.map((each) => withoutTyped(each, hasWord));
  if (typeof value !== "object" || value === null || value instanceof Date || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withoutTyped(each, hasWord)]));
}
