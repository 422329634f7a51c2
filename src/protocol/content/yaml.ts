/**
 * YAML as PyYAML's safe dumper writes it and its safe loader reads it (`yaml-schema.ts`): plain data, moments, bytes. A tag of Python's own is
 * refused, as the safe loader refuses it. What aliases repeat is bounded, so that a small text cannot become a large one.
 */
import { InvalidInputError, MissingPeerError, messageOf } from "../../kit/errors.ts";
import { decodeJson, encodeJson } from "../json.ts";
import { DecodeError } from "../refusal.ts";
import type { ContentFormat } from "./format.ts";
import { mayGrowTo } from "./growth.ts";
import { utf8Text } from "./json.ts";
import { withoutTyped } from "./plain.ts";
import { isStamp, pySchema } from "./yaml-schema.ts";

/** @throws {MissingPeerError} the package js-yaml is not installed */
export async function loadYaml(): Promise<ContentFormat> {
  const yaml = await import("js-yaml").catch((error: unknown) => {
    throw new MissingPeerError("js-yaml", "YAML content", { cause: error });
  });
  const schema = pySchema(yaml);
  return {
    name: "yaml",
    contentType: "application/x-yaml",
    contentEncoding: "utf-8",
    toJsonText(bytes, limits) {
      const text = utf8Text(bytes);
      try {
        // Of two equal keys the last counts, as in Python.
        const value = yaml.load(text, { schema, json: true, maxDepth: limits.maxDepth });
        // What aliases repeat is counted as often as it stands there.
        const maxBytes = mayGrowTo(bytes.byteLength, limits.maxBytes);
        return encodeJson(value, "the body", { ...limits, maxBytes });
      } catch (error) {
        throw new DecodeError("ERR_DECODE", `the body is not YAML of plain data: ${firstLine(error)}`, {
          cause: error,
        });
      }
    },
    fromJsonText(text) {
      try {
        // Equal objects are written out: an alias would be one object to the task, and what changes one would change both.
        const value = withoutTyped(decodeJson(text), isStamp);
        return Buffer.from(yaml.dump(value, { schema, noRefs: true, lineWidth: -1 }));
      } catch (error) {
        throw new InvalidInputError(`the body cannot be written as YAML: ${firstLine(error)}`, { cause: error });
      }
    },
  };
}

/** The library shows the place below. */
function firstLine(error: unknown): string {
  return messageOf(error).split("\n", 1)[0] ?? "";
}
