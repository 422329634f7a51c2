/**
 * Passwords out of what is shown. Every log line, event and error text that may hold a URL goes through here; a password
 * becomes `**`, as Celery writes it.
 *
 * URLs come malformed too, and in the messages of drivers. So this does not parse: all between the first colon and the
 * last `@` of an address is masked. It may hide a little more than the password, never less.
 */

const MASK = "**";

/** A URL inside a text, up to a space or a quote. Slashes may be escaped (JSON), too many or too few. */
const URL_IN_TEXT = /[a-z][a-z0-9+.-]{0,30}:(?:\\?\/)+[^\s"'<>`]*/gi;
/** Where a list of URLs is split: `a://…;b://…` and `a://…,b://…`. */
const LIST_BREAK = /([;,])(?=[a-z][a-z0-9+.-]{0,30}:\/\/)/i;
const SCHEME = /^[a-z][a-z0-9+.-]{0,30}:(?:\\?\/)*/i;
/** `name=value` in a query, plain or percent-encoded as a whole. */
const QUERY_PAIR = /([?&;]|%3f|%26)([^\s=&?;%"']{1,64})(=|%3d)((?:(?!%26)[^\s&"'])*)/gi;
const SECRET_NAME = /pass(?:word|wd|phrase)?$|pwd$|secret|access_?key|api_?key|(?:auth|access|bearer)_?token/i;
/** A whole URL that was percent-encoded: `amqp%3A%2F%2Fuser%3Apassword%40host`. */
const ENCODED_URL = /(%3a%2f%2f)([^\s"'<>&]*)/gi;
/** How far behind an unfinished address we look for its `@`, when the password has a space or a quote in it. */
const REACH = 256;

/** The address of a server, or a list of them, without the passwords. Never throws. */
export function redactUrl(url: string): string {
  if (/^[^:/]*%3a%2f%2f/i.test(url)) return maskQuery(maskEncoded(url));
  return maskQuery(splitList(url).map(maskAddress).join(""));
}

/** A text without the passwords of the URLs in it. Cheap when there is none. */
export function redactText(text: string): string {
  let out = text;
  if (out.includes(":/") || out.includes(":\\/")) out = maskUrlsIn(out);
  if (out.includes("%")) out = maskEncoded(out);
  if (out.includes("=") || out.includes("%3")) out = maskQuery(out);
  return out;
}

/** True for the name of an option or header whose value must not be shown. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) || /^(?:authorization|cookie|set-cookie)$/i.test(name);
}

function maskUrlsIn(text: string): string {
  let out = "";
  let done = 0;
  for (const match of text.matchAll(URL_IN_TEXT)) {
    if (match.index < done) continue;
    let end = match.index + match[0].length;
    if (isUnfinished(match[0])) {
      const at = text.slice(end, end + REACH).indexOf("@");
      if (at >= 0) end += at + 1;
    }
    out += text.slice(done, match.index) + splitList(text.slice(match.index, end)).map(maskAddress).join("");
    done = end;
  }
  return out + text.slice(done);
}

/** The parts of a list, with what joined them, each a whole address. */
function splitList(text: string): string[] {
  const parts: string[] = [];
  let open = "";
  for (const piece of text.split(LIST_BREAK)) {
    open += piece;
    // "amqp://user:pass" without a host is a password that happens to hold the separator: keep it with what follows.
    if (piece === ";" || piece === "," || isUnfinished(open)) continue;
    parts.push(open);
    open = "";
  }
  return open === "" ? parts : [...parts, open];
}

function maskAddress(address: string): string {
  const lead = /^[;,]?/.exec(address)?.[0] ?? "";
  const scheme = SCHEME.exec(address.slice(lead.length))?.[0] ?? "";
  // Without slashes the "scheme" may be the user's name.
  const head = lead + (scheme.endsWith("/") ? scheme : "");
  const rest = address.slice(head.length);
  const from = firstColon(rest);
  if (from === undefined) return address;
  const at = Math.max(rest.lastIndexOf("@"), lastEncodedAt(rest));
  if (at > from.index) return head + rest.slice(0, from.index + from.length) + MASK + rest.slice(at);
  return isUnfinished(address) ? head + rest.slice(0, from.index + from.length) + MASK : address;
}

/** `scheme://name:what-is-no-port`, without an `@`: a password whose host is missing or was cut off. */
function isUnfinished(address: string): boolean {
  const scheme = SCHEME.exec(address.replace(/^[;,]/, ""))?.[0] ?? "";
  if (!scheme.endsWith("/") || address.includes("@")) return false;
  const rest = address.replace(/^[;,]/, "").slice(scheme.length);
  const host = rest.startsWith("[") ? rest.slice(rest.indexOf("]") + 1) : rest;
  const port = /^[^/?#:]*:([^/?#,;]*)/.exec(host)?.[1];
  return port !== undefined && !/^(?:\d{0,5}|\*)[).:!]*$/.test(port) && port !== MASK;
}

function firstColon(text: string): { index: number; length: number } | undefined {
  const plain = text.indexOf(":");
  const encoded = text.search(/%3a/i);
  if (encoded >= 0 && (plain < 0 || encoded < plain)) return { index: encoded, length: 3 };
  return plain < 0 ? undefined : { index: plain, length: 1 };
}

function lastEncodedAt(text: string): number {
  return text.includes("@") ? -1 : text.toLowerCase().lastIndexOf("%40");
}

function maskEncoded(text: string): string {
  return text.replace(ENCODED_URL, (_, slashes: string, rest: string) => {
    const from = firstColon(rest);
    const at = Math.max(rest.toLowerCase().lastIndexOf("%40"), rest.lastIndexOf("@"));
    if (from === undefined || at <= from.index) return slashes + rest;
    return slashes + rest.slice(0, from.index + from.length) + MASK + rest.slice(at);
  });
}

function maskQuery(text: string): string {
  return text.replace(QUERY_PAIR, (pair: string, lead: string, name: string, equals: string) =>
    SECRET_NAME.test(name) ? lead + name + equals + MASK : pair,
  );
}
