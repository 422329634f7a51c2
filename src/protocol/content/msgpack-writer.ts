/** Plain values to MessagePack as msgpack-python writes them with `use_bin_type`: each in its shortest form, floats in eight bytes. */

const WORDS = new Map<unknown, number>([
  [null, 0xc0],
  [undefined, 0xc0],
  [false, 0xc2],
  [true, 0xc3],
]);

/** @throws {TypeError} an integer has more than 64 bits */
export function toMsgpack(value: unknown): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  return writer.bytes();
}

class Writer {
  #buffer = Buffer.allocUnsafe(1_024);
  #at = 0;

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }

  value(value: unknown): void {
    if (typeof value === "string") this.#text(value);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "bigint") this.#integer(value);
    else if (Array.isArray(value)) this.#array(value);
    else if (value instanceof Uint8Array) this.#binary(value);
    else if (value instanceof Date) this.#moment(value);
    else if (typeof value === "object" && value !== null) this.#map(value as Record<string, unknown>);
    else this.#byte(WORDS.get(value) ?? 0xc0);
  }

  #text(text: string): void {
    if (!text.isWellFormed()) throw new TypeError("a text has a lone surrogate, which UTF-8 has no bytes for");
    const length = Buffer.byteLength(text);
    if (length < 32) this.#byte(0xa0 | length);
    else this.#head([0xd9, 0xda, 0xdb], length);
    this.#room(length);
    this.#at += this.#buffer.write(text, this.#at, "utf8");
  }

  #binary(bytes: Uint8Array): void {
    this.#head([0xc4, 0xc5, 0xc6], bytes.byteLength);
    this.#room(bytes.byteLength);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.byteLength;
  }

  #array(values: readonly unknown[]): void {
    if (values.length < 16) this.#byte(0x90 | values.length);
    else this.#head([undefined, 0xdc, 0xdd], values.length);
    for (const each of values) this.value(each);
  }

  #map(table: Readonly<Record<string, unknown>>): void {
    const entries = Object.entries(table);
    if (entries.length < 16) this.#byte(0x80 | entries.length);
    else this.#head([undefined, 0xde, 0xdf], entries.length);
    for (const [key, each] of entries) {
      this.#text(key);
      this.value(each);
    }
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      this.#integer(BigInt(value));
      return;
    }
    this.#byte(0xcb);
    this.#room(8);
    this.#at = this.#buffer.writeDoubleBE(value, this.#at);
  }

  #integer(value: bigint): void {
    if (value < -(2n ** 63n) || value >= 2n ** 64n) throw new TypeError(`the integer ${value} has more than 64 bits`);
    if (value >= -32n && value < 128n) {
      this.#byte(Number(value) & 0xff);
      return;
    }
    this.#room(9);
    const [buffer, at] = [this.#buffer, this.#at];
    if (value >= 0n) {
      const bytes = value < 2n ** 8n ? 1 : value < 2n ** 16n ? 2 : value < 2n ** 32n ? 4 : 8;
      buffer[at] = 0xcc + Math.log2(bytes);
      this.#at =
        bytes === 8 ? buffer.writeBigUInt64BE(value, at + 1) : buffer.writeUIntBE(Number(value), at + 1, bytes);
    } else {
      const bytes = value >= -(2n ** 7n) ? 1 : value >= -(2n ** 15n) ? 2 : value >= -(2n ** 31n) ? 4 : 8;
      buffer[at] = 0xd0 + Math.log2(bytes);
      this.#at = bytes === 8 ? buffer.writeBigInt64BE(value, at + 1) : buffer.writeIntBE(Number(value), at + 1, bytes);
    }
  }

  /** The format's own extension, in its longest form: 32 bits of nanoseconds, 64 of seconds. */
  #moment(moment: Date): void {
    const seconds = Math.floor(moment.getTime() / 1_000);
    this.#room(15);
    this.#buffer.set([0xc7, 12, 0xff], this.#at);
    const at = this.#buffer.writeUInt32BE((moment.getTime() - seconds * 1_000) * 1_000_000, this.#at + 3);
    this.#at = this.#buffer.writeBigInt64BE(BigInt(seconds), at);
  }

  /** The first byte for a length of 8, 16 or 32 bits, and the length. */
  #head(firsts: readonly [number | undefined, number, number], length: number): void {
    const [bits8, bits16, bits32] = firsts;
    this.#room(5);
    if (length < 0x100 && bits8 !== undefined) {
      this.#buffer[this.#at] = bits8;
      this.#at = this.#buffer.writeUInt8(length, this.#at + 1);
    } else if (length < 0x1_0000) {
      this.#buffer[this.#at] = bits16;
      this.#at = this.#buffer.writeUInt16BE(length, this.#at + 1);
    } else {
      this.#buffer[this.#at] = bits32;
      this.#at = this.#buffer.writeUInt32BE(length, this.#at + 1);
    }
  }

  #byte(byte: number): void {
    this.#room(1);
    this.#buffer[this.#at++] = byte;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#at + bytes));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}
