/**
 * For `--import`: a clock that is off by `SKEW` ms, or, with `SKEW=jump`, by another amount of up to a day from each
 * 100 ms to the next. Timers and the monotonic clock stay as they are, as with a clock that is set by hand.
 */
export const skewed = (skew: number | 'jump'): string =>
  `data:text/javascript,${encodeURIComponent(`
  const Real = Date;
  const day = 86400000;
  // Pseudo-random, the same in each run.
  const jump = (t) => ((Math.imul(Math.floor(t / 100), 0x9e3779b1) >>> 0) / 2 ** 32 - 0.5) * 2 * day;
  const now = () => { const t = Real.now(); return Math.floor(t + ${skew === 'jump' ? 'jump(t)' : skew}); };
  globalThis.Date = class Date extends Real {
    constructor(...parts) { if (parts.length === 0) super(now()); else super(...parts); }
    static now() { return now(); }
  };`)}`;
