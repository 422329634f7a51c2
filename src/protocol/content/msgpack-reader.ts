/**
 * MessagePack to the JSON text that means the same, as msgpack-python reads it with `raw=False`. Straight to text, so that a float stays a
 * float for Python (1.0), and no container is made room for before what it announces has been seen: five bytes can announce 2^32 elements.
 */
import { isUtf8 } from "node:buffer";
import { isoFromMs } from "../../kit/iso8601.ts";
import { numberText } from "../json.ts";
import { DecodeError } from "../refusal.ts";
import { bytesEnvelope } from "../typed-value.ts";

/** The extension of the format itself; all others are somebody's own. */
const TIMESTAMP = -1;
/** The years 1 to 9999. */
const MIN_DATE_MS = -62_135_596_800_000;
const MAX_DATE_MS = 253_402_300_799_999;

/** @throws {DecodeError} ERR_DECODE, ERR_DEPTH */
export function msgpackToJson(bytes: Uint8Array, maxDepth: number): string {
  const reader = new Reader(bytes, maxDepth);
  const text = reader.value();
  reader.end();
  return text;
}

class Reader {
  readonly #view: DataView;
  readonly #bytes: Buffer;
  readonly #maxDepth: number;
  #at = 0;
  #depth = 0;

  constructor(bytes: Uint8Array, maxDepth: number) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#maxDepth = maxDepth;
  }

  value(): string {
    const first = this.#view.getUint8(this.#take(1));
    if (first < 0x80) return String(first);
    if (first >= 0xe0) return String(first - 0x100);
    if (first < 0x90) return this.#map(first & 15);
    if (first < 0xa0) return this.#array(first & 15);
    if (first < 0xc0) return JSON.stringify(this.#text(first & 31));
    return this.#tagged(first);
  }

  /** @throws {DecodeError} something follows */
  end(): void {
    const rest = this.#bytes.length - this.#at;
    if (rest > 0) throw refused(`${rest} bytes follow the value`);
  }

  #tagged(first: number): string {
    const view = this.#view;
    switch (first) {
      case 0xc0:
        return "null";
      case 0xc2:
        return "false";
      case 0xc3:
        return "true";
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return JSON.stringify(bytesEnvelope(this.#slice(this.#length(1 << (first - 0xc4)))));
      case 0xc7:
      case 0xc8:
      case 0xc9:
        return this.#extension(this.#length(1 << (first - 0xc7)));
      case 0xca:
        return numberText(view.getFloat32(this.#take(4)), true);
      case 0xcb:
        return numberText(view.getFloat64(this.#take(8)), true);
      case 0xcc:
      case 0xcd:
      case 0xce:
        return String(this.#length(1 << (first - 0xcc)));
      case 0xcf:
        return String(view.getBigUint64(this.#take(8)));
      case 0xd0:
        return String(view.getInt8(this.#take(1)));
      case 0xd1:
        return String(view.getInt16(this.#take(2)));
      case 0xd2:
        return String(view.getInt32(this.#take(4)));
      case 0xd3:
        return String(view.getBigInt64(this.#take(8)));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(1 << (first - 0xd4));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return JSON.stringify(this.#text(this.#length(1 << (first - 0xd9))));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#length(2 << (first - 0xdc)));
      case 0xde:
      case 0xdf:
        return this.#map(this.#length(2 << (first - 0xde)));
      default:
        throw refused(`0x${first.toString(16)} begins no value`);
    }
  }

  #array(count: number): string {
    this.#enter();
    let text = "[";
    for (let i = 0; i < count; i++) text += (i === 0 ? "" : ",") + this.value();
    this.#depth--;
    return `${text}]`;
  }

  #map(count: number): string {
    this.#enter();
    let text = "{";
    for (let i = 0; i < count; i++) text += `${i === 0 ? "" : ","}${JSON.stringify(this.#key())}:${this.value()}`;
    this.#depth--;
    return `${text}}`;
  }

  #enter(): void {
    if (++this.#depth > this.#maxDepth) {
      throw new DecodeError("ERR_DEPTH", `the body is nested more than ${this.#maxDepth} deep`);
    }
  }

  #key(): string {
    const first = this.#view.getUint8(this.#take(1));
    if (first >= 0xa0 && first < 0xc0) return this.#text(first & 31);
    if (first >= 0xd9 && first <= 0xdb) return this.#text(this.#length(1 << (first - 0xd9)));
    throw refused("a key of a map is no text");
  }

  #text(length: number): string {
    const bytes = this.#slice(length);
    if (!isUtf8(bytes)) throw refused("a text is not UTF-8");
    return bytes.toString("utf8");
  }

  #extension(length: number): string {
    const type = this.#view.getInt8(this.#take(1));
    if (type !== TIMESTAMP) throw refused(`it has an extension of the type ${type}`);
    const at = this.#take(length);
    const ms =
      length === 4 ? this.#view.getUint32(at) * 1_000 : length === 8 ? this.#packedMs(at) : this.#longMs(at, length);
    if (!(ms >= MIN_DATE_MS) || ms > MAX_DATE_MS) throw refused("a timestamp is outside the years that Python knows");
    return `{"__type__":"datetime","__value__":"${isoFromMs(ms)}"}`;
  }

  /** 30 bits of nanoseconds, 34 of seconds. */
  #packedMs(at: number): number {
    const both = this.#view.getBigUint64(at);
    return Number(both & 0x3_ffff_ffffn) * 1_000 + Math.floor(Number(both >> 34n) / 1e6);
  }

  #longMs(at: number, length: number): number {
    if (length !== 12) throw refused(`a timestamp has ${length} bytes`);
    return Number(this.#view.getBigInt64(at + 4)) * 1_000 + Math.floor(this.#view.getUint32(at) / 1e6);
  }

  #length(bytes: number): number {
    const at = this.#take(bytes);
    if (bytes === 1) return this.#view.getUint8(at);
    return bytes === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #slice(length: number): Buffer {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Where they begin, passing over them. */
  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw refused("it ends before what it announces");
    this.#at += count;
    return at;
  }
}

function refused(why: string): DecodeError {
  return new DecodeError("ERR_DECODE", `the body is not MessagePack of plain data: ${why}`);
}
