/**
 * How much one message may ask of the process that reads it. Everything that JSON can be made large in has a bound,
 * and a message past one is refused before it costs more than a scan of its text.
 */

export interface JsonLimits {
  /**
   * Of the body as text, and of what it decompresses to. 16 MiB by default: RabbitMQ's own default for a message, and
   * more than a task should carry.
   */
  readonly maxBytes: number;
  /**
   * Arrays and objects within one another. 64 by default. Readers survive more (`JSON.parse` two million); what comes
   * after them, `JSON.stringify` and `structuredClone`, overflows the stack, and Python's reader stops near 1,000.
   */
  readonly maxDepth: number;
  /**
   * Keys of one object. 10,000 by default: past that V8 keeps a hash table of about 60 bytes for a key, ten times its
   * text. Array elements are not counted, they cost little more than their text.
   */
  readonly maxKeys: number;
  /** Keys of the whole text. 500,000 by default: records of five fields fill the 16 MiB first. */
  readonly maxKeysInAll: number;
}

export interface MessageLimits extends JsonLimits {
  /** Headers of one message; Celery itself writes 20. 500 by default. */
  readonly maxHeaders: number;
  /** Text of all headers together, in UTF-16 units. 1 MiB by default. */
  readonly maxHeaderChars: number;
  /** Signatures in one of callbacks, errbacks and chain. Each message of a chain carries all that follow it. 5,000 by default. */
  readonly maxSignatures: number;
}

export const DEFAULT_LIMITS: MessageLimits = {
  maxBytes: 16 * 1024 * 1024,
  maxDepth: 64,
  maxKeys: 10_000,
  maxKeysInAll: 500_000,
  maxHeaders: 500,
  maxHeaderChars: 1024 * 1024,
  maxSignatures: 5_000,
};

/** Python refuses to read an integer of more digits (sys.set_int_max_str_digits), and reading one takes quadratic time. */
export const MAX_INTEGER_DIGITS = 4_300;
