/** How a stored or sent document is written: Celery's `result_serializer`. What is in between is the document of JSON. */
import type { ContentFormat } from "../protocol/content/format.ts";
import { JSON_FORMAT } from "../protocol/content/json.ts";
import { DEFAULT_LIMITS } from "../protocol/limits.ts";
import { decodeResult, encodeResult, type ResultDocument } from "../protocol/result.ts";

export class ResultFormat {
  readonly #content: ContentFormat;

  constructor(content: ContentFormat = JSON_FORMAT) {
    this.#content = content;
  }

  /** "json", "yaml", "msgpack". */
  get name(): string {
    return this.#content.name;
  }

  /** How its bytes become text and back: one character a byte, where they are no text. */
  get encoding(): "utf8" | "latin1" {
    return this.#content.contentEncoding === "binary" ? "latin1" : "utf8";
  }

  /** @throws {InvalidInputError} the format has no word for a value */
  encode(document: ResultDocument): Uint8Array {
    return this.#content.fromJsonText(encodeResult(document));
  }

  /** @throws {DecodeError} */
  decode(bytes: Uint8Array): ResultDocument {
    return decodeResult(this.#content.toJsonText(bytes, DEFAULT_LIMITS));
  }

  /** Of a text in `encoding`. */
  decodeText(text: string): ResultDocument {
    return this.name === "json" ? decodeResult(text) : this.decode(Buffer.from(text, this.encoding));
  }
}
