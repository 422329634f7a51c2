/**
 * MessagePack as msgpack-python writes it with `use_bin_type` and reads it with `raw=False`: text and bytes are told apart, integers have 64
 * bits. Extension types are refused but for the timestamp.
 */
import { InvalidInputError, MissingPeerError, messageOf } from "../../kit/errors.ts";
import { decodeJson, encodeJson } from "../json.ts";
import { DecodeError } from "../refusal.ts";
import type { ContentFormat } from "./format.ts";
import { withoutTyped } from "./yaml.ts";

/** @throws {MissingPeerError} the package @msgpack/msgpack is not installed */
export async function loadMsgpack(): Promise<ContentFormat> {
  const { decode, encode, ExtData } = await import("@msgpack/msgpack").catch((error: unknown) => {
    throw new MissingPeerError("@msgpack/msgpack", "MessagePack content", { cause: error });
  });
  const refuseExtensions = (value: unknown): unknown => {
    if (value instanceof ExtData) throw new TypeError(`it has an extension of type ${value.type}`);
    if (Array.isArray(value)) value.forEach(refuseExtensions);
    else if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
      Object.values(value).forEach(refuseExtensions);
    }
    return value;
  };
  return {
    name: "msgpack",
    contentType: "application/x-msgpack",
    contentEncoding: "binary",
    toJsonText(bytes) {
      // Nothing has more elements than the whole has bytes.
      const most = bytes.byteLength;
      try {
        const value = decode(bytes, { useBigInt64: true, maxArrayLength: most, maxMapLength: most });
        return encodeJson(refuseExtensions(value), "the body");
      } catch (error) {
        throw new DecodeError("ERR_DECODE", `the body is not MessagePack of plain data: ${messageOf(error)}`, {
          cause: error,
        });
      }
    },
    fromJsonText(text) {
      try {
        return encode(refuseLarge(withoutTyped(decodeJson(text))), { useBigInt64: true });
      } catch (error) {
        throw new InvalidInputError(`the body cannot be written as MessagePack: ${messageOf(error)}`, { cause: error });
      }
    },
  };
}

/** The library would write the lowest 64 bits. */
function refuseLarge(value: unknown): unknown {
  if (typeof value === "bigint" && (value < -(2n ** 63n) || value >= 2n ** 64n)) {
    throw new TypeError(`the integer ${value} has more than 64 bits`);
  }
  if (Array.isArray(value)) value.forEach(refuseLarge);
  else if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) {
    Object.values(value).forEach(refuseLarge);
  }
  return value;
}
