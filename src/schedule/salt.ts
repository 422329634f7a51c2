/** The random part of a callback's id, the same in every store: 47 bits, never 0; SQLite keeps it in six bytes. Drawn from the system in large portions. */
const POOL = new Uint32Array(1_024);
let left = 0;

export function newSalt(): number {
  if (left === 0) {
    crypto.getRandomValues(POOL);
    left = POOL.length;
  }
  left -= 2;
  const high = POOL[left + 1] as number;
  const low = POOL[left] as number;
  return (high & 0x7fff) * 2 ** 32 + low || 1;
}
