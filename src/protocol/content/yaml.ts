/**
 * YAML as PyYAML's safe dumper writes it and its safe loader reads it: version 1.1, plain data, timestamps, binary. A tag of Python's own is
 * refused, as the safe loader refuses it; aliases are bounded, so that a small text cannot become a large one.
 */
import { InvalidInputError, MissingPeerError, messageOf } from "../../kit/errors.ts";
import { decodeJson, encodeJson, TypedValue } from "../json.ts";
import { DecodeError } from "../refusal.ts";
import type { ContentFormat } from "./format.ts";

const MAX_ALIASES = 100;

/** @throws {MissingPeerError} the package yaml is not installed */
export async function loadYaml(): Promise<ContentFormat> {
  const yaml = await import("yaml").catch((error: unknown) => {
    throw new MissingPeerError("yaml", "YAML content", { cause: error });
  });
  return {
    name: "yaml",
    contentType: "application/x-yaml",
    contentEncoding: "utf-8",
    toJsonText(bytes) {
      try {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
        const document = yaml.parseDocument(text, { version: "1.1", intAsBigInt: true, logLevel: "silent" });
        const [problem] = [...document.errors, ...document.warnings];
        if (problem !== undefined) throw problem;
        return encodeJson(document.toJS({ maxAliasCount: MAX_ALIASES }), "the body");
      } catch (error) {
        throw new DecodeError("ERR_DECODE", `the body is not YAML of plain data: ${firstLine(error)}`, {
          cause: error,
        });
      }
    },
    fromJsonText(text) {
      try {
        return Buffer.from(
          yaml.stringify(withoutTyped(decodeJson(text)), { version: "1.1", aliasDuplicateObjects: false }),
        );
      } catch (error) {
        throw new InvalidInputError(`the body cannot be written as YAML: ${messageOf(error)}`, { cause: error });
      }
    },
  };
}

/** Python's decimals and such have no word in safe YAML: their text. */
export function withoutTyped(value: unknown): unknown {
  if (value instanceof TypedValue) return value.value;
  if (Array.isArray(value)) return value.map(withoutTyped);
  if (typeof value !== "object" || value === null || value instanceof Date || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withoutTyped(each)]));
}

/** The library shows the place below. */
function firstLine(error: unknown): string {
  return messageOf(error).split("\n", 1)[0] ?? "";
}
