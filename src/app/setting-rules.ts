/** Rules of settings that more than one place reads by. */
import { type Rule, suggest } from "../kit/options.ts";
import { textOf } from "../kit/printable.ts";

export function table(): Rule<Readonly<Record<string, unknown>>> {
  return (value, name) => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw new TypeError(`${name} must be an object, such as {}; it was ${textOf(value, 80)}`);
  };
}

/** AMQP's delivery mode, by its number or by kombu's name. */
export function deliveryMode(value: unknown, name: string): 1 | 2 {
  if (value === 2 || value === "persistent") return 2;
  if (value === 1 || value === "transient") return 1;
  throw new TypeError(`${name} must be 2 ("persistent") or 1 ("transient"); it was ${textOf(value, 80)}`);
}

/** `routing_key` is `routingKey`. */
export function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** Serializers by kombu's names, each with its MIME types. */
const SERIALIZERS: Readonly<Record<string, readonly string[]>> = {
  json: ["application/json"],
  yaml: ["application/x-yaml"],
  msgpack: ["application/x-msgpack"],
  auth: ["application/data"],
};

/** Compressions by kombu's names and MIME types: those of `protocol/content/compression.ts`. */
const COMPRESSIONS = [
  ...["zlib", "gzip", "application/x-gzip", "brotli", "application/x-brotli"],
  ...["zstd", "zstandard", "application/zstd"],
];

/** How bodies are written. */
export function serializerName(value: unknown, name: string): string {
  return nameAmong(value, name, Object.keys(SERIALIZERS));
}

/** What is read: a serializer, or its MIME type. */
export function contentName(value: unknown, name: string): string {
  return nameAmong(value, name, Object.entries(SERIALIZERS).flat(2));
}

export function compressionName(value: unknown, name: string): string {
  return nameAmong(value, name, COMPRESSIONS);
}

function nameAmong(value: unknown, name: string, known: readonly string[]): string {
  if (typeof value === "string" && known.includes(value)) return value;
  const shown = typeof value === "string" ? JSON.stringify(textOf(value, 80)) : textOf(value, 80);
  if (value === "pickle" || value === "application/x-python-serialize") {
    throw new TypeError(
      `${name} must not be ${shown}: to read pickle is to run what the sender wrote; use json, yaml or msgpack`,
    );
  }
  const near = typeof value === "string" ? suggest(value, known) : "";
  throw new TypeError(`${name} must be one of ${known.join(", ")}; it was ${shown}${near}`);
}
