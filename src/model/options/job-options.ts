import type {
  BackoffOptions,
  ChildFailurePolicy,
  DeduplicationOptions,
  Duration,
  GroupOptions,
  JobOptions,
  Retention,
} from '../job.js';
import { encodePayload } from '../payload/values.js';
import { show } from '../text.js';
import { timeOf } from './dates.js';
import { durationIn, MAX_DURATION_MS, MAX_TIMER_MS, parseDelay } from './duration.js';
import { integerIn, numberIn, oneOf, validateName } from './names.js';
import { readOptions } from './option-object.js';
import { validateRepeat } from './repeat-options.js';

const INT_MAX = 2 ** 31 - 1;
/** Trimming steps over as many entries of an index. */
const MAX_KEPT_COUNT = 1_000_000;
const BACKOFF_TYPES = ['fixed', 'exponential', 'custom'] as const;
const CHILD_FAILURE_POLICIES: readonly ChildFailurePolicy[] = ['fail', 'ignore', 'remove'];

/**
 * The options of a job after every check. Nothing that takes them checks them again, and nothing changes them.
 */
export interface ResolvedJobOptions {
  /** As they were given, without those that are undefined; durations that SQL reads are ms. */
  readonly options: JobOptions;
  /** `delay` in ms; 0 without one. */
  readonly delayMs: number;
  /** What `storedOptions` has made of them. */
  stored?: StoredOptions;
}

/** What is saved of a job's options; the jobs that have them in common share it. */
export interface StoredOptions {
  readonly opts: JobOptions;
  /** JSON text. */
  readonly json: string;
}

interface Parsed {
  delayMs: number;
}

type Check<K extends keyof JobOptions> = (value: unknown, parsed: Parsed) => Required<JobOptions>[K];

/** One check per option. The table is also the list of all options. */
const CHECKS: { readonly [K in keyof Required<JobOptions>]: Check<K> } = {
  attempts: (value) => integerIn(value, 'opts.attempts', 1, INT_MAX),
  backoff: backoffOption,
  delay: (value, parsed) => {
    parsed.delayMs = parseDelay(value as Duration, 'opts.delay');
    return value as Duration;
  },
  repeat: validateRepeat,
  priority: (value) => integerIn(value, 'opts.priority', -(2 ** 31), INT_MAX),
  lifo: (value) => booleanOption(value, 'opts.lifo'),
  deduplication: deduplicationOption,
  removeOnComplete: (value) => retentionOption(value, 'opts.removeOnComplete'),
  removeOnFail: (value) => retentionOption(value, 'opts.removeOnFail'),
  timeout: (value) => durationIn(value, 'opts.timeout', 1, MAX_TIMER_MS),
  jobId: (value) => validateName(value, 'opts.jobId'),
  failParentOnChildFailure: (value) => oneOf(value, 'opts.failParentOnChildFailure', CHILD_FAILURE_POLICIES),
  group: groupOption,
};

const KNOWN = Object.keys(CHECKS) as (keyof JobOptions)[];

/**
 * Checks the options of a job. `null` and `undefined` mean no options.
 *
 * @throws RangeError or TypeError that names the option (`opts.attempts`), its value and what is allowed; TypeError
 * for an unknown option, and for `delay` together with `repeat`
 */
export function resolveJobOptions(opts: unknown): ResolvedJobOptions {
  if (opts === undefined || opts === null) return { options: {}, delayMs: 0 };
  const fields = readOptions(opts, 'opts', KNOWN);
  const parsed: Parsed = { delayMs: 0 };
  const options: Record<string, unknown> = {};
  for (const key in fields) options[key] = CHECKS[key as keyof JobOptions](fields[key], parsed);
  return refuseDelayedRepeat({ options, delayMs: parsed.delayMs });
}

/**
 * Options with those of a default that they do not give themselves. The schedule of a repeating job says when it runs,
 * so a default delay does not apply to it.
 *
 * @throws TypeError for `delay` with a default `repeat`
 */
export function withDefaults(given: ResolvedJobOptions, defaults: ResolvedJobOptions): ResolvedJobOptions {
  const options = { ...defaults.options, ...given.options };
  if (given.options.delay !== undefined) return refuseDelayedRepeat({ options, delayMs: given.delayMs });
  if (given.options.repeat === undefined) return { options, delayMs: defaults.delayMs };
  delete options.delay;
  return { options, delayMs: 0 };
}

function refuseDelayedRepeat(resolved: ResolvedJobOptions): ResolvedJobOptions {
  const { options, delayMs } = resolved;
  if (!options.repeat || delayMs === 0) return resolved;
  throw new TypeError(
    `opts.delay is ${show(options.delay)} together with opts.repeat, whose schedule says when the job runs; ` +
      'for a later first run use opts.repeat.startDate.',
  );
}

/** Options with a duration that SQL and workers read as a number. */
const IN_MS = ['timeout', 'deduplication', 'removeOnComplete', 'removeOnFail'] as const;

/**
 * Options whose durations are ms where SQL and workers read them: for callers who save options as they are. The same
 * object when they are already.
 *
 * @throws RangeError that names the option, for a text that is no duration
 */
export function inMilliseconds(opts: JobOptions): JobOptions {
  const texts = IN_MS.filter((key) => {
    const value: unknown = opts[key];
    if (typeof value !== 'object' || value === null) return typeof value === 'string';
    return typeof (value as Retention).age === 'string' || typeof (value as DeduplicationOptions).ttl === 'string';
  });
  if (texts.length === 0) return opts;
  const parsed: Parsed = { delayMs: 0 };
  return { ...opts, ...Object.fromEntries(texts.map((key) => [key, CHECKS[key](opts[key], parsed)])) };
}

/** Resolved options as JSON can hold them: without the backoff function, and with dates as ISO 8601 strings. */
export function storableOptions(opts: JobOptions): JobOptions {
  const { backoff, repeat, ...stored } = opts as JobOptions & Record<string, unknown>;
  const options: JobOptions = stored;
  if (backoff) {
    const { customStrategy: _function, ...rest } = backoff;
    options.backoff = rest;
  }
  if (repeat) {
    options.repeat = { ...repeat };
    if (repeat.startDate !== undefined) options.repeat.startDate = isoOf(repeat.startDate, 'opts.repeat.startDate');
    if (repeat.endDate !== undefined) options.repeat.endDate = isoOf(repeat.endDate, 'opts.repeat.endDate');
  }
  return options;
}

/**
 * The same with its JSON text, made once for all jobs that are added with the same options, such as the default ones.
 *
 * @throws InvalidPayloadError for options that take more than `maxBytes` as JSON
 */
export function storedOptions(resolved: ResolvedJobOptions, maxBytes: number): StoredOptions {
  if (!resolved.stored) {
    const opts = storableOptions(resolved.options);
    resolved.stored = { opts, json: encodePayload(opts, { path: 'opts', maxBytes }) };
  }
  return resolved.stored;
}

function isoOf(date: Date | string | number, name: string): string {
  return new Date(timeOf(date, name)).toISOString();
}

function booleanOption(value: unknown, name: string): boolean {
  if (typeof value === 'boolean') return value;
  throw new TypeError(`${name} is ${show(value)}; it must be true or false.`);
}

function retentionOption(value: unknown, name: string): boolean | number | Retention {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number' || typeof value === 'string') return durationIn(value, name, 0, MAX_DURATION_MS);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(
      `${name} is ${show(value)}; it must be true, false, how long to keep the job, or { age, count }.`,
    );
  }
  const { age, count } = readOptions(value, name, ['age', 'count']);
  if (age === undefined && count === undefined) {
    throw new TypeError(`${name} has neither age nor count; it needs at least one of them.`);
  }
  const retention: Retention = {};
  if (age !== undefined) retention.age = durationIn(age, `${name}.age`, 0, MAX_DURATION_MS);
  if (count !== undefined) retention.count = integerIn(count, `${name}.count`, 0, MAX_KEPT_COUNT);
  return retention;
}

function backoffOption(value: unknown): BackoffOptions {
  const fields = readOptions(value, 'opts.backoff', ['type', 'delay', 'jitter', 'customStrategy']);
  const type = oneOf(fields['type'], 'opts.backoff.type', BACKOFF_TYPES);
  const strategy = fields['customStrategy'];
  if (strategy !== undefined && (type !== 'custom' || typeof strategy !== 'function')) {
    throw new TypeError(
      `opts.backoff.customStrategy is ${show(strategy)} with type '${type}'; it must be a function, with type 'custom'.`,
    );
  }
  // A custom strategy need not use the delay, so the option may be missing.
  if (type !== 'custom' || fields['delay'] !== undefined) {
    parseDelay(fields['delay'] as Duration, 'opts.backoff.delay', 'the backoff delay');
  }
  if (fields['jitter'] !== undefined) numberIn(fields['jitter'], 'opts.backoff.jitter', 0, 1);
  return { ...fields } as unknown as BackoffOptions;
}

function deduplicationOption(value: unknown): DeduplicationOptions {
  const fields = readOptions(value, 'opts.deduplication', ['key', 'hash', 'ttl']);
  if (fields['key'] !== undefined) validateName(fields['key'], 'opts.deduplication.key');
  if (fields['hash'] !== undefined) booleanOption(fields['hash'], 'opts.deduplication.hash');
  const { ttl } = fields;
  if (ttl !== undefined) fields['ttl'] = durationIn(ttl, 'opts.deduplication.ttl', 1, MAX_DURATION_MS);
  if (fields['key'] === undefined && fields['hash'] !== true) {
    throw new TypeError('opts.deduplication has neither key nor hash: true. Deduplication requires one of them.');
  }
  return { ...fields };
}

function groupOption(value: unknown): GroupOptions {
  const fields = readOptions(value, 'opts.group', ['id', 'maxSize']);
  const id = validateName(fields['id'], 'opts.group.id');
  if (fields['maxSize'] === undefined) return { id };
  return { id, maxSize: integerIn(fields['maxSize'], 'opts.group.maxSize', 1, INT_MAX) };
}
