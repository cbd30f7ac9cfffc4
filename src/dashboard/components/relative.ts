const UNITS: readonly [ms: number, name: string][] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
];

/** `12 s ago`, `in 3 h`; within a second `now`. Times and `now` in epoch ms. */
export function relative(at: number, now: number): string {
  const distance = Math.abs(now - at);
  if (distance < 1_000) return 'now';
  const text = duration(distance < 10_000 ? Math.floor(distance / 1_000) * 1_000 : distance);
  return at > now ? `in ${text}` : `${text} ago`;
}

/** `340 ms`, `12 s`, `3 h`: in the largest unit of which there is a whole one, rounded down. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const [size, name] = UNITS.find(([unit]) => ms >= unit)!;
  const whole = ms / size;
  // A second decides where there are few of them.
  return `${size === 1_000 && whole < 10 ? whole.toFixed(1).replace(/\.0$/, '') : Math.floor(whole)} ${name}`;
}
