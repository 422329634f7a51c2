/**
 * Python's `fnmatch`, as Celery's routes have it: `*` is any text, `?` one character, `[abc]`, `[a-z]` and `[!abc]` one
 * of a set. Case counts, and the whole name must match. What Python reads as plain text is plain text here: a `[` without its
 * `]`, a backslash.
 */

/** The name has something in it that makes it a pattern to Celery's routes: a star. `?` and `[` alone do not. */
export function isGlob(text: string): boolean {
  return text.includes("*");
}

export function globToRegExp(glob: string): RegExp {
  const chars = [...glob];
  let source = "";
  for (let i = 0; i < chars.length; i += 1) {
    const char = chars[i] as string;
    if (char === "*") {
      // Several in a row are one: each would multiply the ways to fail.
      while (chars[i + 1] === "*") i += 1;
      source += ".*";
    } else if (char === "?") {
      source += ".";
    } else if (char === "[") {
      const end = endOfSet(chars, i);
      source += end === undefined ? escaped(char) : setOf(chars.slice(i + 1, end));
      i = end ?? i;
    } else {
      source += escaped(char);
    }
  }
  return new RegExp(`^${source}$`, "su");
}

/** Where its `]` stands: one right after the `[` or `[!` is a member. */
function endOfSet(chars: readonly string[], start: number): number | undefined {
  let at = start + 1;
  if (chars[at] === "!") at += 1;
  if (chars[at] === "]") at += 1;
  const end = chars.indexOf("]", at);
  return end === -1 ? undefined : end;
}

function setOf(members: readonly string[]): string {
  const negated = members[0] === "!";
  const from = negated ? 1 : 0;
  let inside = "";
  for (let i = from; i < members.length; i += 1) {
    const low = members[i] as string;
    const high = members[i + 2];
    if (members[i + 1] === "-" && high !== undefined) {
      // Python drops a range that runs backwards.
      if (codeOf(low) <= codeOf(high)) inside += `${escaped(low)}-${escaped(high)}`;
      i += 2;
    } else {
      inside += escaped(low);
    }
  }
  if (inside === "") return negated ? "." : "(?!)";
  return `[${negated ? "^" : ""}${inside}]`;
}

function codeOf(char: string): number {
  return char.codePointAt(0) ?? 0;
}

function escaped(char: string): string {
  return /[A-Za-z0-9_]/.test(char) ? char : `\\u{${codeOf(char).toString(16)}}`;
}
