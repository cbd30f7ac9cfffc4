import type { Result } from '../run/interleaved.js';

export function median(numbers: readonly number[]): number | undefined {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  return sorted.length % 2 === 0 && upper !== undefined ? (upper + (sorted[middle - 1] as number)) / 2 : upper;
}

/** The median of a figure over the rounds. */
export function medianOf(result: Result | undefined, figure: string): number | undefined {
  const numbers = result?.rounds.map((round) => round[figure]).filter((each) => each !== undefined) ?? [];
  return median(numbers);
}

/** Lowest and highest over the rounds, as shares of the median. */
export function spreadOf(result: Result, figure: string): [number, number] | undefined {
  const middle = medianOf(result, figure);
  const numbers = result.rounds.map((round) => round[figure]).filter((each) => each !== undefined);
  return middle ? [Math.min(...numbers) / middle, Math.max(...numbers) / middle] : undefined;
}
