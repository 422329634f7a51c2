/**
 * MessagePack as msgpack-python writes it with `use_bin_type` and reads it with `raw=False`: text and bytes are told apart, integers have 64
 * bits. Extension types are refused but for the timestamp.
 */
import { InvalidInputError, messageOf } from "../../kit/errors.ts";
import { decodeJson } from "../json.ts";
import type { ContentFormat } from "./format.ts";
import { msgpackToJson } from "./msgpack-reader.ts";
import { toMsgpack } from "./msgpack-writer.ts";
import { withoutTyped } from "./plain.ts";

export const MSGPACK_FORMAT: ContentFormat = {
  name: "msgpack",
  contentType: "application/x-msgpack",
  contentEncoding: "binary",
  toJsonText: (bytes, limits) => msgpackToJson(bytes, limits.maxDepth),
  fromJsonText(text) {
    try {
      return toMsgpack(withoutTyped(decodeJson(text)));
    } catch (error) {
      throw new InvalidInputError(`the body cannot be written as MessagePack: ${messageOf(error)}`, { cause: error });
    }
  },
};
