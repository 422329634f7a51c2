/** How the payload of one content type is read and written. What is in between is JSON text in Python's dialect. */
import type { JsonLimits } from "../limits.ts";

export interface ContentFormat {
  /** Celery's name, as in `accept_content` and `task_serializer`. */
  readonly name: string;
  readonly contentType: string;
  readonly contentEncoding: "utf-8" | "binary";
  /** The JSON text that means what the bytes mean. @throws {DecodeError} */
  toJsonText(bytes: Uint8Array, limits: JsonLimits): string;
  /** @throws {InvalidInputError} it has no word for a value */
  fromJsonText(text: string): Uint8Array;
}
