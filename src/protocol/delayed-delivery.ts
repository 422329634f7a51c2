/**
 * Native delayed delivery on RabbitMQ (PROTOCOL 7.6): 28 queues that hold a message for 2^27 … 1 seconds and pass it on to the
 * next. Which of them hold it stands in front of its routing key, one binary digit a word, so that the broker itself waits. Pure.
 */

export const DELAY_LEVELS = 28;

/** Where a delayed message is published: the exchange of the longest step. */
export const DELAY_ENTRY = `celery_delayed_${DELAY_LEVELS - 1}`;

/** Where the last step ends; bound to the exchanges of the app's queues. */
export const DELAY_EXIT = "celery_delayed_delivery";

/** The longest delay that the digits can say: eight and a half years. */
export const MAX_DELAY_SECONDS = 2 ** DELAY_LEVELS - 1;

/** Of an AMQP short string. */
const MAX_KEY_BYTES = 255;

const PREFIX = new RegExp(`^(?:[01]\\.){${DELAY_LEVELS}}`);

/**
 * The routing key of a message that is to arrive after `seconds`: `0.0. … .1.0.1.mail` for 5 s. Never in front of another
 * delay's digits: those of a message that is sent on are taken off first.
 *
 * Undefined where the broker cannot wait: for less than a second (Celery's client throws), or when the key grows too long. For
 * more than `MAX_DELAY_SECONDS` it waits as long as it can (Celery's 29th digit sends the message astray); who receives it waits for the rest.
 */
export function delayedKey(seconds: number, routingKey: string): string | undefined {
  const whole = Math.min(Math.floor(seconds), MAX_DELAY_SECONDS);
  if (!(whole >= 1)) return undefined;
  const digits = whole.toString(2).padStart(DELAY_LEVELS, "0");
  const key = `${[...digits].join(".")}.${undelayedKey(routingKey)}`;
  return Buffer.byteLength(key) > MAX_KEY_BYTES ? undefined : key;
}

/** The key without the digits of a delay, also of several: Celery's client puts new ones in front of the old when a task is retried. */
export function undelayedKey(routingKey: string): string {
  let key = routingKey;
  while (PREFIX.test(key)) key = key.slice(2 * DELAY_LEVELS);
  return key;
}

/** It is one of those that a delayed message travels through. */
export function isDelayExchange(exchange: string): boolean {
  return exchange === DELAY_EXIT || /^celery_delayed_\d+$/.test(exchange);
}

/**
 * The key by which the end of the delay is bound to the exchange of a queue, and that queue to its exchange: `#.mail`. What stands in front
 * of the message's key must pass.
 */
export function exitKey(routingKey: string): string {
  return routingKey.startsWith("#") ? routingKey : `#.${routingKey}`;
}

/** Whether a topic exchange passes a message of this key by a binding of that one: `*` is a word, `#` any number of words, none too. */
export function topicMatches(binding: string, routingKey: string): boolean {
  const pattern = binding.split(".");
  const words = routingKey.split(".");
  // Row by row, whether the pattern so far fits the words so far: without it a key of many `#` takes for ever.
  let row = [true, ...words.map(() => false)];
  for (const part of pattern) {
    const next: boolean[] = [part === "#" && row[0] === true];
    for (const [i, word] of words.entries()) {
      const fits =
        part === "#" ? next[i] === true || row[i + 1] === true : row[i] === true && (part === "*" || part === word);
      next.push(fits);
    }
    row = next;
  }
  return row[words.length] === true;
}
