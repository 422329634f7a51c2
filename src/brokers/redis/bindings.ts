/**
 * kombu's bindings: members of a set, `routing_key SEP pattern SEP queue`, and which of them a routing key matches (PROTOCOL 8.1, 8.3). Pure.
 *
 * A topic's pattern is not AMQP's: `a.*` matches `a.b.c`, and `#.b` does not match `b`. kombu keeps it as a regular expression whose
 * reluctant parts take exponential time in the number of wildcards on a key that does not match; here the same language is matched in a
 * product of lengths. An expression that is not kombu's own is run as one.
 */

export interface Binding {
  readonly routingKey: string;
  /** kombu's regular expression of a topic's key; "" for other exchanges. */
  readonly pattern: string;
  readonly queue: string;
}

export function bindingMember({ routingKey, pattern, queue }: Binding, sep: string): string {
  return [routingKey, pattern, queue].join(sep);
}

/** Undefined when it is no binding: somebody else's member of the set. */
export function parseBinding(member: string, sep: string): Binding | undefined {
  const parts = member.split(sep);
  if (parts.length !== 3) return undefined;
  const [routingKey, pattern, queue] = parts as [string, string, string];
  return queue === "" ? undefined : { routingKey, pattern, queue };
}

/** The regular expression that kombu stores for a topic's binding key. */
export function topicPattern(key: string): string {
  const escaped = key.replace(/[^\p{L}\p{N}.#*]/gu, (sign) => (sign === "\0" ? "\\000" : `\\${sign}`));
  return `^${escaped
    .split(".")
    .map((word) => (word === "*" ? ".*?[^\\.]" : word === "#" ? ".*?" : word))
    .join("\\.")}$`;
}

/** The queues, each once, that a message goes to. A binding with a pattern is a topic's, one without a direct exchange's. */
export function route(bindings: readonly Binding[], routingKey: string): string[] {
  const queues = new Set<string>();
  for (const binding of bindings) {
    if (binding.pattern === "" ? binding.routingKey === routingKey : topicMatches(binding, routingKey)) {
      queues.add(binding.queue);
    }
  }
  return [...queues];
}

function topicMatches({ routingKey: key, pattern }: Binding, routingKey: string): boolean {
  if (pattern === topicPattern(key) && !/[^.]\*|\*[^.]/.test(key)) return wordsMatch(tokensOf(key), routingKey);
  try {
    return new RegExp(pattern).test(routingKey);
  } catch {
    return false;
  }
}

/** Text that stands there, or one of kombu's two wildcards. */
type Token = string | typeof SOME | typeof ANY;
/** One sign or more, the last of which is no dot. */
const SOME = Symbol("*");
/** Any signs, or none. */
const ANY = Symbol("#");

function tokensOf(key: string): Token[] {
  return key.split(".").flatMap((word, i): Token[] => {
    const token = word === "*" ? SOME : word === "#" ? ANY : word;
    return i === 0 ? [token] : [".", token];
  });
}

/** Token by token, where in the text each can end. */
function wordsMatch(tokens: readonly Token[], text: string): boolean {
  let ends = new Uint8Array(text.length + 1);
  ends[0] = 1;
  for (const token of tokens) {
    const next = new Uint8Array(text.length + 1);
    let reached = false;
    for (let at = 0; at <= text.length; at += 1) {
      if (typeof token === "string") {
        if (ends[at] === 1 && text.startsWith(token, at)) next[at + token.length] = 1;
        continue;
      }
      if (token === SOME && reached && text[at - 1] !== ".") next[at] = 1;
      if (ends[at] === 1) reached = true;
      if (token === ANY && reached) next[at] = 1;
    }
    ends = next;
  }
  return ends[text.length] === 1;
}
