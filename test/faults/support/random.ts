import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** Every random choice of a drill: the same seed makes the same choices in the same order. */
export interface Random {
  readonly seed: number;
  /** Both ends included. */
  int(from: number, to: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** A generator of its own for each name, so that one part's choices do not shift another's. */
  fork(name: string): Random;
}

export function randomFrom(seed: number): Random {
  const generator = xoroshiro128plus(seed);
  const int = (from: number, to: number) => uniformInt(generator, Math.floor(from), Math.floor(to));
  return {
    seed,
    int,
    chance: (probability) => int(0, 999_999) < probability * 1_000_000,
    pick: (list) => list[int(0, list.length - 1)]!,
    fork: (name) => randomFrom(mix(seed, name)),
  };
}

/** FNV-1a over the name, from the seed on. */
function mix(seed: number, name: string): number {
  let hash = (seed ^ 0x811c9dc5) | 0;
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
  return hash & 0x7fffffff;
}
