/** Many at once, but not all: so that what a store takes in one commit goes in one, and memory stays bounded. */

const SIZE = 1_000;

/** The answers in the order of the items. The first error ends it; what was begun goes on. */
export async function inBatches<Item, Answer>(
  items: readonly Item[],
  ask: (item: Item) => Promise<Answer>,
  size = SIZE,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let at = 0; at < items.length; at += size) {
    for (const answer of await Promise.all(items.slice(at, at + size).map(ask))) answers.push(answer);
  }
  return answers;
}
