import type { ConnectionOptions } from '../../db/connect.js';
import type { DrizzleLike } from '../../db/drizzle-like.js';
import { DEFAULT_STATEMENT_TIMEOUT } from '../../db/executor.js';
import type { OnStatement, StatementEvent } from '../../db/statement-event.js';
import type { StoreEvent } from '../../model/event.js';
import { checkLogger, defaultLogger, type Logger, safely } from '../../model/logger.js';
import { integerIn } from '../../model/options/names.js';
import { readOptions } from '../../model/options/option-object.js';
import { DEFAULT_MAX_PAYLOAD_BYTES } from '../../model/payload/values.js';

export interface PgStoreOptions {
  /** A URL, or postgres.js options: the store opens and ends its own connections. Either this or `db`. */
  connection?: ConnectionOptions;
  /** The app's Drizzle database, over any Postgres driver. The store never ends its client. */
  db?: DrizzleLike;
  /** The Postgres schema of the tables. Default: the first of the connection's search path. */
  schema?: string;
  /** Bring the tables up to date on `connect()`. Default true; otherwise `connect()` verifies them. */
  autoMigrate?: boolean;
  /** Default: warnings and errors to the console. */
  logger?: Logger;
  /** A subscriber threw. Default: a warning. */
  onEventHandlerError?: (error: unknown, event: StoreEvent) => void;
  metrics?: {
    enabled?: boolean;
    /** How long minute buckets are kept. Default 1440. */
    retentionMinutes?: number;
    /** How long hour buckets are kept. Default 720. */
    retentionHours?: number;
  };
  /**
   * How notifications arrive: `true` on a connection like the store's own (the default where there is one), a URL for
   * a direct connection beside a pooler, `false` to poll only.
   */
  listen?: boolean | string;
  /** Largest payload and result in bytes of JSON. Default 10 MiB. */
  maxPayloadBytes?: number;
  /** Limit of every statement in ms. Default 30,000. */
  statementTimeout?: number;
  /**
   * Called after every statement with its name, its duration in ms and its number of rows: for debug logs and telemetry.
   * What it throws or rejects with is logged and otherwise ignored.
   */
  onStatement?: (event: StatementEvent) => unknown;
}

export interface ResolvedOptions {
  readonly connection: ConnectionOptions | undefined;
  readonly db: DrizzleLike | undefined;
  readonly schema: string | undefined;
  readonly autoMigrate: boolean;
  readonly logger: Logger;
  readonly onEventHandlerError: (error: unknown, event: StoreEvent) => void;
  readonly metrics: { enabled: boolean; retentionMinutes: number; retentionHours: number };
  readonly listen: boolean | string;
  readonly maxPayloadBytes: number;
  readonly statementTimeout: number;
  readonly onStatement: OnStatement | undefined;
}

const MAX_INTERVAL = 2_147_483_647;
const KNOWN = [
  'connection',
  'db',
  'schema',
  'autoMigrate',
  'logger',
  'onEventHandlerError',
  'metrics',
  'listen',
  'maxPayloadBytes',
  'statementTimeout',
  'onStatement',
] as const;

/** Throws `TypeError` or `RangeError` naming the option. */
export function resolveOptions(options: PgStoreOptions): ResolvedOptions {
  if (options === null || typeof options !== 'object') {
    throw new TypeError('new PgStore() needs options: { connection } or { db }.');
  }
  readOptions(options, 'PgStore options', KNOWN);
  const { connection, db, schema } = options;
  if ((connection === undefined) === (db === undefined)) {
    throw new TypeError('PgStore needs exactly one of `connection` (a URL or postgres.js options) and `db` (Drizzle).');
  }
  if (db !== undefined && typeof db.execute !== 'function') {
    throw new TypeError('PgStore `db` must be a Drizzle database for Postgres (it has no execute()).');
  }
  if (connection !== undefined && typeof connection !== 'string' && typeof connection !== 'object') {
    throw new TypeError('PgStore `connection` must be a URL or an object of postgres.js options.');
  }
  if (connection === '') throw new TypeError('PgStore `connection` is empty; is DATABASE_URL set?');
  if (schema !== undefined && (typeof schema !== 'string' || schema.length === 0 || Buffer.byteLength(schema) > 63)) {
    throw new RangeError(`PgStore \`schema\` is ${JSON.stringify(schema)}; it must be a name of 1 to 63 bytes.`);
  }
  const listen = options.listen ?? true;
  if (typeof listen !== 'boolean' && typeof listen !== 'string') {
    throw new TypeError('PgStore `listen` must be true, false or a connection URL.');
  }
  if (connection === null) throw new TypeError('PgStore `connection` is null; is DATABASE_URL set?');
  for (const [name, value] of [
    ['autoMigrate', options.autoMigrate],
    ['metrics.enabled', options.metrics?.enabled],
  ] as const) {
    if (value !== undefined && typeof value !== 'boolean') {
      throw new TypeError(`PgStore \`${name}\` is ${JSON.stringify(value)}; it must be true or false.`);
    }
  }
  if (options.onEventHandlerError !== undefined && typeof options.onEventHandlerError !== 'function') {
    throw new TypeError('PgStore `onEventHandlerError` must be a function.');
  }
  if (options.onStatement !== undefined && typeof options.onStatement !== 'function') {
    throw new TypeError('PgStore `onStatement` must be a function.');
  }
  const logger = safely(options.logger === undefined ? defaultLogger : checkLogger(options.logger, 'logger'));
  const metrics = options.metrics ?? {};
  readOptions(metrics, 'metrics', ['enabled', 'retentionMinutes', 'retentionHours']);
  return {
    connection,
    db,
    schema,
    autoMigrate: options.autoMigrate ?? true,
    logger,
    onEventHandlerError:
      options.onEventHandlerError ??
      ((error, event) => logger.warn(`conveyor: a subscriber of "${event.queueName}" threw on ${event.type}`, error)),
    metrics: {
      enabled: metrics.enabled ?? false,
      retentionMinutes: integerIn(metrics.retentionMinutes ?? 1_440, 'metrics.retentionMinutes', 1, MAX_INTERVAL),
      retentionHours: integerIn(metrics.retentionHours ?? 720, 'metrics.retentionHours', 1, MAX_INTERVAL),
    },
    listen,
    maxPayloadBytes: integerIn(
      options.maxPayloadBytes ?? DEFAULT_MAX_PAYLOAD_BYTES,
      'maxPayloadBytes',
      1,
      200 * 1024 * 1024,
    ),
    statementTimeout: integerIn(
      options.statementTimeout ?? DEFAULT_STATEMENT_TIMEOUT,
      'statementTimeout',
      100,
      MAX_INTERVAL,
    ),
    onStatement: options.onStatement && guarded(options.onStatement, logger),
  };
}

/** A statement's caller must not fail with the app's observer of it. */
function guarded(onStatement: (event: StatementEvent) => unknown, logger: Logger): OnStatement {
  const failed = (error: unknown) => logger.warn('conveyor: onStatement failed', error);
  return (event) => {
    try {
      const result = onStatement(event);
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
  };
}
