/** A small deterministic generator (xorshift32): a failing seed can be run again. */
export interface Random {
  /** A whole number from 0 up to `limit`, exclusive. */
  below(limit: number): number;
  chance(oneIn: number): boolean;
  bytes(length: number): Buffer;
}

/** Equal seeds give equal numbers. */
export function createRandom(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e37_79b1) | 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  for (let i = 0; i < 8; i++) next();
  return {
    below: (limit) => next() % limit,
    chance: (oneIn) => next() % oneIn === 0,
    bytes: (length) => {
      const bytes = Buffer.alloc(length);
      for (let at = 0; at < length; at++) bytes[at] = next();
      return bytes;
    },
  };
}
