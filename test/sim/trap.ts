/** While worlds run, nothing may ask the real machine for the time or for chance: whoever does is told so, loudly. */
const TRAPPED = [
  [Math, "random"],
  [Date, "now"],
  [performance, "now"],
  [globalThis, "setTimeout"],
  [globalThis, "setInterval"],
  [globalThis, "setImmediate"],
] as const;

export async function withoutChance<T>(run: () => Promise<T>): Promise<T> {
  const restores = TRAPPED.map(([of, name]) => {
    const real: unknown = Reflect.get(of, name);
    Reflect.set(of, name, () => {
      throw new Error(`${name} was called in a simulated world: time, turns and chance come in through ports`);
    });
    return () => Reflect.set(of, name, real);
  });
  try {
    return await run();
  } finally {
    for (const restore of restores) restore();
  }
}
