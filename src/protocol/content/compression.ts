/**
 * Compression by kombu's names and MIME types. Reading is bounded: a small body must not become a large one. `gzip` is a name of kombu's for
 * zlib's format (RFC 1950); a true gzip stream is refused by Python as well.
 *
 * bzip2 and lzma are not here: no library that is kept writes them without a native build.
 */
import * as zlib from "node:zlib";
import { InvalidInputError, messageOf } from "../../kit/errors.ts";
import { DecodeError, quoted } from "../refusal.ts";
import { mayGrowTo } from "./growth.ts";

interface Compression {
  readonly names: readonly string[];
  /** Value of the header `compression`. */
  readonly type: string;
  /** For an error. */
  readonly format: string;
  readonly compress: (bytes: Uint8Array) => Uint8Array;
  readonly decompress: (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array;
}

const ALL: readonly Compression[] = [
  {
    names: ["zlib", "gzip"],
    type: "application/x-gzip",
    format: "zlib",
    compress: (bytes) => zlib.deflateSync(bytes),
    decompress: (bytes, options) => zlib.inflateSync(bytes, options),
  },
  {
    names: ["brotli"],
    type: "application/x-brotli",
    format: "brotli",
    // Its default, the densest, takes a second and a half for a megabyte.
    compress: (bytes) => zlib.brotliCompressSync(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } }),
    decompress: (bytes, options) => zlib.brotliDecompressSync(bytes, options),
  },
  {
    names: ["zstd", "zstandard"],
    type: "application/zstd",
    format: "zstd",
    compress: (bytes) => zlib.zstdCompressSync(bytes),
    decompress: (bytes, options) => zlib.zstdDecompressSync(bytes, options),
  },
];
const KNOWN = ALL.map(({ names }) => quoted(names[0])).join(", ");

/** @throws {InvalidInputError} it is not known here */
export function compress(bytes: Uint8Array, name: string): { readonly bytes: Uint8Array; readonly type: string } {
  const compression = find(name);
  if (compression === undefined)
    throw new InvalidInputError(`compression ${quoted(name)} is not known here: use ${KNOWN}`);
  return { bytes: compression.compress(bytes), type: compression.type };
}

/** @throws {DecodeError} ERR_COMPRESSION; ERR_SIZE past `maxBytes` or a hundredfold */
export function decompress(bytes: Uint8Array, type: unknown, maxBytes: number): Uint8Array {
  const compression = typeof type === "string" ? find(type) : undefined;
  if (compression === undefined) {
    throw new DecodeError("ERR_COMPRESSION", `compression ${quoted(type)} is not known here; use ${KNOWN}`);
  }
  const maxOutputLength = mayGrowTo(bytes.byteLength, maxBytes);
  try {
    return compression.decompress(bytes, { maxOutputLength });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      throw new DecodeError(
        "ERR_SIZE",
        `the body of ${bytes.byteLength} bytes decompresses to more than ${maxOutputLength}, which is the limit`,
        { cause: error },
      );
    }
    throw new DecodeError("ERR_COMPRESSION", `the body is not ${compression.format} data: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function find(name: string): Compression | undefined {
  return ALL.find(({ names, type }) => type === name || names.includes(name));
}
