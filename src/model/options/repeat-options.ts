import type { JobOptions, OverlapPolicy, RepeatOptions } from '../job.js';
import { validateCron, validateTimezone } from '../schedule/schedule.js';
import { show } from '../text.js';
import { timeOf } from './dates.js';
import { parseDelay } from './duration.js';
import { integerIn, oneOf, validateName } from './names.js';
import { readOptions } from './option-object.js';

const OVERLAP_POLICIES: readonly OverlapPolicy[] = ['skip', 'queue', 'all'];

type Checks = { readonly [K in keyof Required<RepeatOptions>]: (value: unknown) => unknown };

const CHECKS: Checks = {
  // Checked below, together with its time zone.
  cron: (value) => value,
  every: (value) => {
    if (parseDelay(value as string, 'opts.repeat.every') < 1) {
      throw new RangeError(`opts.repeat.every is ${show(value)}; it must be at least 1 ms.`);
    }
    return value;
  },
  limit: (value) => integerIn(value, 'opts.repeat.limit', 0, Number.MAX_SAFE_INTEGER),
  startDate: (value) => dateOption(value, 'opts.repeat.startDate'),
  endDate: (value) => dateOption(value, 'opts.repeat.endDate'),
  tz: (value) => validateTimezone(value as string, 'opts.repeat.tz'),
  key: (value) => validateName(value, 'opts.repeat.key'),
  overlap: (value) => oneOf(value, 'opts.repeat.overlap', OVERLAP_POLICIES),
};

const KNOWN = Object.keys(CHECKS) as (keyof RepeatOptions)[];

/** @throws RangeError or TypeError that names the option, its value and what is allowed */
export function validateRepeat(value: unknown): RepeatOptions {
  const fields = readOptions(value, 'opts.repeat', KNOWN);
  if ((fields['cron'] === undefined) === (fields['every'] === undefined)) {
    throw new TypeError(
      `opts.repeat has ${fields['cron'] === undefined ? 'neither' : 'both'} cron and every; it needs exactly one.`,
    );
  }
  const repeat: Record<string, unknown> = {};
  for (const key of KNOWN) if (fields[key] !== undefined) repeat[key] = CHECKS[key](fields[key]);

  const { cron, tz, startDate, endDate } = repeat as RepeatOptions;
  if (cron !== undefined) validateCron(cron, tz, 'opts.repeat.cron');
  if (startDate !== undefined && endDate !== undefined) refuseEmptyWindow(startDate, endDate);
  return repeat;
}

function dateOption(value: unknown, name: string): unknown {
  timeOf(value, name);
  return value;
}

function refuseEmptyWindow(startDate: unknown, endDate: unknown): void {
  const start = timeOf(startDate, 'opts.repeat.startDate');
  const end = timeOf(endDate, 'opts.repeat.endDate');
  if (start <= end) return;
  throw new RangeError(
    `opts.repeat.endDate must be after startDate: it is ${new Date(end).toISOString()}, and opts.repeat.startDate ` +
      `${new Date(start).toISOString()}.`,
  );
}

/** The options of a schedule's jobs: without those that would keep a tick from having its job. */
export function scheduledOptions({ deduplication: _unique, group, ...options }: JobOptions): JobOptions {
  return group === undefined ? options : { ...options, group: { id: group.id } };
}

/** Options as they are read: JSON has the dates of `repeat` as texts. Changes `opts`. */
export function reviveDates(opts: JobOptions): void {
  const repeat: unknown = opts.repeat;
  if (repeat === null || typeof repeat !== 'object') return;
  for (const name of ['startDate', 'endDate'] as const) {
    const stored: unknown = (repeat as RepeatOptions)[name];
    if (typeof stored !== 'string' && typeof stored !== 'number') continue;
    const date = new Date(stored);
    // Changed by hand to something else, it is shown as it is.
    if (!Number.isNaN(date.getTime())) (repeat as RepeatOptions)[name] = date;
  }
}
