import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { BackoffStrategy, Duration } from '../../model/job.js';
import { checkLogger, type Logger, safely } from '../../model/logger.js';
import { durationIn, MAX_TIMER_MS } from '../../model/options/duration.js';
import { integerIn } from '../../model/options/names.js';
import { readOptions } from '../../model/options/option-object.js';
import type { RateLimit, ResolvedRateLimit } from '../../model/store-interface.js';
import { show } from '../../model/text.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import { checkSchemas } from '../job/schemas.js';
import type { SchemasFor } from '../job/typed-job.js';

// biome-ignore lint/suspicious/noExplicitAny: options of a worker of any jobs
export interface WorkerOptions<T = any> {
  store: PgStore;
  /** Jobs (or batches) at once. Default 1. */
  concurrency?: number;
  /** Active jobs of the queue at once, over all workers. */
  maxGlobalConcurrency?: number;
  /**
   * At most `max` jobs claimed in any `duration` (ms, or a duration), over all workers. Claims are what is counted, by
   * the database's clock; a handler starts up to about 10 ms after its claim, later when the process is busy. So within
   * a window measured at the handlers, one or a few jobs more may start: for an API that counts strictly, lower `max` by
   * one, or make `duration` a little longer than its window.
   */
  limiter?: RateLimit;
  /** Lease on a job, ms or a duration, renewed after each third of it. Default 30,000. */
  lockDuration?: Duration;
  /**
   * Longest time between two sweeps for expired leases, ms or a duration. Default 30,000, or the store's `pollInterval` if
   * that is given; while notifications arrive the store polls at least that often anyway.
   */
  stalledInterval?: Duration;
  /**
   * How often a job may stall (lose its worker while its handler runs) before such an end counts as a failed attempt.
   * Beyond it a job runs alone in its process, so that no other job is taken for the cause. Default 1.
   */
  maxStalledCount?: number;
  /**
   * How long a handler may go on after its signal has aborted (at its job's `timeout`, when it is cancelled, or when its
   * lease is lost), ms or a duration. Then its attempt has ended, and its slot is free. Default 30,000.
   */
  timeoutGrace?: Duration;
  /** Whether to start on construction. Default true. */
  autoStart?: boolean;
  /** Newest first within a priority. Default false. */
  lifo?: boolean;
  /** Calls the processor with arrays of up to `size` jobs. */
  batch?: { size: number };
  /** Claims jobs of groups in turn. `concurrency` and `limiter` apply to each group, over all workers. */
  group?: { concurrency?: number; limiter?: RateLimit };
  /** Returns the delay before the next attempt, in ms, for jobs with `backoff.type: 'custom'`. */
  backoffStrategy?: BackoffStrategy;
  /**
   * By job name: makes of a job's data, before it runs, what its handler gets. Names without a schema are not checked, and
   * their data is as JSON gives it back.
   */
  schemas?: SchemasFor<T>;
  logger?: Logger;
}

// What decides which processor a worker takes.
export interface Single {
  batch?: never;
}
export interface Batched {
  batch: { size: number };
}
export interface Unchecked {
  schemas?: never;
}
export interface Checking<T> {
  schemas: SchemasFor<T>;
}

export interface ResolvedWorkerOptions {
  readonly store: PgStore;
  readonly concurrency: number;
  readonly maxGlobalConcurrency: number | undefined;
  readonly limiter: ResolvedRateLimit | undefined;
  readonly lockDuration: number;
  readonly stalledInterval: number;
  readonly maxStalledCount: number;
  readonly timeoutGrace: number;
  readonly autoStart: boolean;
  readonly lifo: boolean;
  readonly batchSize: number | undefined;
  readonly group: { concurrency: number | undefined; limiter: ResolvedRateLimit | undefined } | undefined;
  readonly backoffStrategy: BackoffStrategy | undefined;
  readonly schemas: Record<string, StandardSchemaV1> | undefined;
  readonly logger: Logger;
}

const KNOWN = [
  'store',
  'concurrency',
  'maxGlobalConcurrency',
  'limiter',
  'lockDuration',
  'stalledInterval',
  'maxStalledCount',
  'timeoutGrace',
  'autoStart',
  'lifo',
  'batch',
  'group',
  'backoffStrategy',
  'schemas',
  'logger',
] as const;
const MAX_INT = 2_147_483_647;

function rateLimit(value: unknown, name: string): ResolvedRateLimit | undefined {
  if (value === undefined) return undefined;
  const { max, duration } = readOptions(value, name, ['max', 'duration']);
  return {
    max: integerIn(max, `${name}.max`, 1, MAX_INT),
    duration: durationIn(duration, `${name}.duration`, 1, MAX_TIMER_MS),
  };
}

function flag(value: unknown, name: string, defaultValue: boolean): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? defaultValue;
  throw new TypeError(`${name} is ${show(value)}; it must be true or false.`);
}

const optional = (value: unknown, name: string, min: number) =>
  value === undefined ? undefined : integerIn(value, name, min, MAX_INT);

/** @throws TypeError or RangeError that names the option */
export function resolveWorkerOptions(options: WorkerOptions): ResolvedWorkerOptions {
  readOptions(options, 'options', KNOWN);
  const { store, backoffStrategy } = options;
  if (!store?.engine) throw new TypeError('Worker options.store must be a PgStore.');
  if (backoffStrategy !== undefined && typeof backoffStrategy !== 'function') {
    throw new TypeError('Worker options.backoffStrategy must be a function.');
  }
  const group =
    options.group === undefined ? undefined : readOptions(options.group, 'group', ['concurrency', 'limiter']);
  return {
    store,
    concurrency: integerIn(options.concurrency ?? 1, 'concurrency', 1, 100_000),
    maxGlobalConcurrency: optional(options.maxGlobalConcurrency, 'maxGlobalConcurrency', 1),
    limiter: rateLimit(options.limiter, 'limiter'),
    lockDuration: durationIn(options.lockDuration ?? 30_000, 'lockDuration', 1, MAX_TIMER_MS),
    stalledInterval:
      options.stalledInterval === undefined
        ? (store.engine.options.pollInterval ?? 30_000)
        : durationIn(options.stalledInterval, 'stalledInterval', 1, MAX_TIMER_MS),
    maxStalledCount: integerIn(options.maxStalledCount ?? 1, 'maxStalledCount', 0, 1_000_000),
    timeoutGrace: durationIn(options.timeoutGrace ?? 30_000, 'timeoutGrace', 0, MAX_TIMER_MS),
    autoStart: flag(options.autoStart, 'autoStart', true),
    lifo: flag(options.lifo, 'lifo', false),
    batchSize:
      options.batch === undefined
        ? undefined
        : integerIn(readOptions(options.batch, 'batch', ['size'])['size'], 'batch.size', 1, 10_000),
    group:
      group === undefined
        ? undefined
        : {
            concurrency: optional(group['concurrency'], 'group.concurrency', 1),
            limiter: rateLimit(group['limiter'], 'group.limiter'),
          },
    backoffStrategy,
    schemas: checkSchemas(options.schemas, 'schemas'),
    logger: options.logger === undefined ? store.engine.options.logger : safely(checkLogger(options.logger, 'logger')),
  };
}
