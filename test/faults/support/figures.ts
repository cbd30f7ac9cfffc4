/** The value below which `share` of the list lies; NaN for an empty one. */
export function percentile(list: readonly number[], share: number): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}

/** Median, 99th percentile and maximum, in ms. */
export function spread(list: readonly number[]): string {
  return [percentile(list, 0.5), percentile(list, 0.99), Math.max(...list)].map((ms) => ms.toFixed(0)).join('/');
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** `CODE 3, OTHER 1`; `none` if there are none. */
export function tally(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([what, count]) => `${what} ${count}`);
  return parts.join(', ') || 'none';
}

/** The first few of a list, for a fault. */
export const some = (list: readonly string[]): string =>
  list.slice(0, 3).join(' · ') + (list.length > 3 ? ` … ${list.length} in all` : '');
