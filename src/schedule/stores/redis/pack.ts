/**
 * The part of MessagePack that Redis' Lua speaks (`cmsgpack`) and that our scripts need: whole numbers, fractions, texts, booleans,
 * lists. Parameters and answers of a script travel as one such value: one argument in place of thousands, and no number is
 * printed and read again on the way.
 */

export type Packable = number | string | boolean | readonly Packable[];
export type Unpacked = number | string | boolean | null | Unpacked[];

/** Small enough to come out of Node's pool. */
const FIRST_BYTES = 1_024;

/** Writes one value after another; `take` gives the bytes. */
export class Packer {
  #buffer = Buffer.allocUnsafe(FIRST_BYTES);
  #at = 0;

  /** What was written so far, bytes. */
  get length(): number {
    return this.#at;
  }

  /** The bytes; the packer is empty afterwards, and must not be used again. */
  take(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  value(value: Packable): void {
    switch (typeof value) {
      case "string":
        this.text(value);
        break;
      case "number":
        this.number(value);
        break;
      case "boolean":
        this.#room(1);
        this.#buffer[this.#at++] = value ? 0xc3 : 0xc2;
        break;
      default:
        this.list(value.length);
        for (const each of value) this.value(each);
    }
  }

  /** So many values follow. */
  list(length: number): void {
    this.#room(5);
    if (length < 16) {
      this.#buffer[this.#at++] = 0x90 | length;
    } else if (length < 0x1_0000) {
      this.#buffer[this.#at++] = 0xdc;
      this.#at = this.#buffer.writeUInt16BE(length, this.#at);
    } else {
      this.#buffer[this.#at++] = 0xdd;
      this.#at = this.#buffer.writeUInt32BE(length, this.#at);
    }
  }

  number(value: number): void {
    this.#room(9);
    const buffer = this.#buffer;
    if (!Number.isSafeInteger(value)) {
      buffer[this.#at++] = 0xcb;
      this.#at = buffer.writeDoubleBE(value, this.#at);
    } else if (value >= 0 && value < 0x80) {
      buffer[this.#at++] = value;
    } else if (value >= 0 && value <= 0xffff_ffff) {
      buffer[this.#at++] = 0xce;
      this.#at = buffer.writeUInt32BE(value, this.#at);
    } else {
      const high = Math.floor(value / 2 ** 32);
      buffer[this.#at++] = 0xd3;
      this.#at = buffer.writeInt32BE(high, this.#at);
      this.#at = buffer.writeUInt32BE(value - high * 2 ** 32, this.#at);
    }
  }

  text(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.#textHead(bytes);
    this.#room(bytes);
    this.#at += this.#buffer.write(text, this.#at, bytes, "utf8");
  }

  /** A text whose bytes are what `write` writes: a value that is kept packed. */
  nested(write: () => void): void {
    this.#room(5);
    const head = this.#at;
    this.#buffer[head] = 0xdb;
    this.#at += 5;
    write();
    this.#buffer.writeUInt32BE(this.#at - head - 5, head + 1);
  }

  #textHead(bytes: number): void {
    this.#room(5);
    const buffer = this.#buffer;
    if (bytes < 32) {
      buffer[this.#at++] = 0xa0 | bytes;
    } else if (bytes < 0x100) {
      buffer[this.#at++] = 0xd9;
      buffer[this.#at++] = bytes;
    } else if (bytes < 0x1_0000) {
      buffer[this.#at++] = 0xda;
      this.#at = buffer.writeUInt16BE(bytes, this.#at);
    } else {
      buffer[this.#at++] = 0xdb;
      this.#at = buffer.writeUInt32BE(bytes, this.#at);
    }
  }

  #room(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

export function pack(value: Packable): Buffer {
  const packer = new Packer();
  packer.value(value);
  return packer.take();
}

/** @throws {RangeError} it is cut off, or holds what our scripts do not say */
export function unpack(buffer: Buffer): Unpacked {
  return new Reader(buffer).value();
}

class Reader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  value(): Unpacked {
    const buffer = this.#buffer;
    const tag = buffer.readUInt8(this.#at++);
    if (tag < 0x80) return tag;
    if (tag >= 0xe0) return tag - 0x100;
    if (tag < 0xa0 && tag >= 0x90) return this.#list(tag & 0x0f);
    if (tag >= 0xa0 && tag < 0xc0) return this.#text(tag & 0x1f);
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xcb:
        return buffer.readDoubleBE(this.#skip(8));
      case 0xca:
        return buffer.readFloatBE(this.#skip(4));
      case 0xcc:
        return buffer.readUInt8(this.#skip(1));
      case 0xcd:
        return buffer.readUInt16BE(this.#skip(2));
      case 0xce:
        return buffer.readUInt32BE(this.#skip(4));
      case 0xcf:
        return buffer.readUInt32BE(this.#skip(4)) * 2 ** 32 + buffer.readUInt32BE(this.#skip(4));
      case 0xd0:
        return buffer.readInt8(this.#skip(1));
      case 0xd1:
        return buffer.readInt16BE(this.#skip(2));
      case 0xd2:
        return buffer.readInt32BE(this.#skip(4));
      case 0xd3:
        return buffer.readInt32BE(this.#skip(4)) * 2 ** 32 + buffer.readUInt32BE(this.#skip(4));
      case 0xd9:
        return this.#text(buffer.readUInt8(this.#skip(1)));
      case 0xda:
        return this.#text(buffer.readUInt16BE(this.#skip(2)));
      case 0xdb:
        return this.#text(buffer.readUInt32BE(this.#skip(4)));
      case 0xdc:
        return this.#list(buffer.readUInt16BE(this.#skip(2)));
      case 0xdd:
        return this.#list(buffer.readUInt32BE(this.#skip(4)));
      default:
        throw new RangeError(
          `byte 0x${tag.toString(16)} at ${this.#at - 1} of ${buffer.length} begins no value of ours`,
        );
    }
  }

  #list(length: number): Unpacked[] {
    const list = new Array<Unpacked>(length);
    for (let i = 0; i < length; i++) list[i] = this.value();
    return list;
  }

  #text(bytes: number): string {
    const from = this.#skip(bytes);
    if (this.#at > this.#buffer.length) throw new RangeError(`a text ends at ${this.#at}, past ${this.#buffer.length}`);
    return this.#buffer.toString("utf8", from, this.#at);
  }

  #skip(bytes: number): number {
    const from = this.#at;
    this.#at += bytes;
    return from;
  }
}
