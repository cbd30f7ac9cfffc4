import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { BackoffStrategy } from '../../model/job.js';
import { checkLogger, type Logger, safely } from '../../model/logger.js';
import { integerIn } from '../../model/options/names.js';
import { readOptions } from '../../model/options/option-object.js';
import type { RateLimit } from '../../model/store-interface.js';
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
  /** At most `max` jobs started in any `duration` ms, over all workers. */
  limiter?: RateLimit;
  /** Lease on a job, in ms, renewed after each third of it. Default 30,000. */
  lockDuration?: number;
  /** Longest time between two sweeps for expired leases, in ms. Default 30,000. */
  stalledInterval?: number;
  /** How often a job may stall before it fails. Default 1. */
  maxStalledCount?: number;
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
  readonly limiter: RateLimit | undefined;
  readonly lockDuration: number;
  readonly stalledInterval: number;
  readonly maxStalledCount: number;
  readonly autoStart: boolean;
  readonly lifo: boolean;
  readonly batchSize: number | undefined;
  readonly group: { concurrency: number | undefined; limiter: RateLimit | undefined } | undefined;
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
  'autoStart',
  'lifo',
  'batch',
  'group',
  'backoffStrategy',
  'schemas',
  'logger',
] as const;
const MAX_INT = 2_147_483_647;

function rateLimit(value: unknown, name: string): RateLimit | undefined {
  if (value === undefined) return undefined;
  const { max, duration } = readOptions(value, name, ['max', 'duration']);
  return {
    max: integerIn(max, `${name}.max`, 1, MAX_INT),
    duration: integerIn(duration, `${name}.duration`, 1, MAX_INT),
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
    lockDuration: integerIn(options.lockDuration ?? 30_000, 'lockDuration', 1, MAX_INT),
    stalledInterval: integerIn(options.stalledInterval ?? 30_000, 'stalledInterval', 1, MAX_INT),
    maxStalledCount: integerIn(options.maxStalledCount ?? 1, 'maxStalledCount', 0, 1_000_000),
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
