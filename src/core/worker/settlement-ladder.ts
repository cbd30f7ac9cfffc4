import { codeOf } from '../../db/errors.js';
import type { Settlement } from '../../store/settle/settle.js';

/**
 * How the end of an attempt is written down when the database refuses it as it is: with less, from the secondary
 * effects (deletion, metrics) over the texts to the bare outcome. The outcome itself is never given up.
 */

interface Step {
  /** For the log: what the job or its queue goes without. */
  readonly leavesOut: string;
  /** The settlement with less; the same one where there is nothing to leave out. */
  reduce(settlement: Settlement): Settlement;
}

/** A job that could not be deleted with its end is kept this long, in ms, and then left to retention. */
const DELETION_PAUSE_MS = 3_600_000;
const UNREADABLE = 'The reason could not be stored';

const later = (keepMs: number | undefined) => (keepMs === 0 ? DELETION_PAUSE_MS : keepMs);

const withoutDeletion: Step = {
  leavesOut: 'its deletion',
  reduce: (s) =>
    s.keepCompletedMs === 0 || s.keepFailedMs === 0
      ? { ...s, keepCompletedMs: later(s.keepCompletedMs), keepFailedMs: later(s.keepFailedMs) }
      : s,
};

const withoutMetrics: Step = {
  leavesOut: 'its metrics',
  reduce: (s) => (s.metered === false ? s : { ...s, metered: false }),
};

/** A database whose encoding is not UTF-8 refuses characters that it does not have. */
const replacing = (leavesOut: string, characters: RegExp): Step => ({
  leavesOut,
  reduce: (s) => {
    const clean = (text: string | undefined | null) => text?.replace(characters, '?');
    const { returnvalue, reason, stack, logs } = s;
    if (![returnvalue, reason, stack, logs].some((text) => text != null && clean(text) !== text)) return s;
    return { ...s, returnvalue: clean(returnvalue), reason: clean(reason), stack: clean(stack), logs: clean(logs) };
  },
});

const withoutLogs: Step = {
  leavesOut: 'its stack trace and the logs of its attempt',
  reduce: (s) => (s.stack == null && s.logs === undefined ? s : { ...s, stack: undefined, logs: undefined }),
};

const bare: Step = {
  leavesOut: 'its result or reason',
  reduce: (s) => {
    if (s.kind === 'completed') return s.returnvalue === 'null' ? s : { ...s, returnvalue: 'null' };
    return s.reason === undefined || s.reason === UNREADABLE ? s : { ...s, reason: UNREADABLE };
  },
};

const EFFECTS = [withoutDeletion, withoutMetrics];
const TEXTS = [
  replacing('the characters that its database does not have', /[^\0-\xff]/gu),
  replacing('all but ASCII characters', /[^\0-\x7f]/gu),
  withoutLogs,
  bare,
];

export interface Reduced {
  readonly settlement: Settlement;
  readonly leavesOut: string;
}

/** The next settlement to try after a refusal; undefined when the bare outcome is refused as well. */
export function reduce(settlement: Settlement, refusal: unknown): Reduced | undefined {
  // Class 22 is about values, every other one first about what the statement does beside them.
  const steps = codeOf(refusal)?.startsWith('22') ? [...TEXTS, ...EFFECTS] : [...EFFECTS, ...TEXTS];
  for (const { leavesOut, reduce: apply } of steps) {
    const less = apply(settlement);
    if (less !== settlement) return { settlement: less, leavesOut };
  }
  return undefined;
}
