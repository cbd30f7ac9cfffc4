import type { RepeatOptions } from '../job.js';
import { validateCron, validateTimezone } from '../schedule/schedule.js';
import { show } from '../text.js';
import { timeOf } from './dates.js';
import { parseDelay } from './duration.js';
import { integerIn, validateName } from './names.js';
import { readOptions } from './option-object.js';

type Checks = { readonly [K in keyof Required<RepeatOptions>]: (value: unknown) => unknown };

const CRON_NAMES = { cron: 'opts.repeat.cron', tz: 'opts.repeat.tz' };

const CHECKS: Checks = {
  cron: (value) => value, // with its time zone, below
  every: (value) => {
    if (parseDelay(value as string, 'opts.repeat.every') < 1) {
      throw new RangeError(`opts.repeat.every is ${show(value)}; it must be at least 1 ms.`);
    }
    return value;
  },
  limit: (value) => integerIn(value, 'opts.repeat.limit', 0, Number.MAX_SAFE_INTEGER),
  startDate: (value) => dateOption(value, 'opts.repeat.startDate'),
  endDate: (value) => dateOption(value, 'opts.repeat.endDate'),
  tz: (value) => validateTimezone(value as string, CRON_NAMES.tz),
  key: (value) => validateName(value, 'opts.repeat.key'),
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
  if (cron !== undefined) validateCron(cron, tz, CRON_NAMES);
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
    `opts.repeat.startDate is ${new Date(start).toISOString()}, after opts.repeat.endDate ` +
      `${new Date(end).toISOString()}; it must not be later.`,
  );
}
