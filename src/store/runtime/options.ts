import type { ConnectionOptions } from '../../db/connect.js';
import { checkConnection } from '../../db/connection-input.js';
import type { DrizzleLike } from '../../db/drizzle-like.js';
import { DEFAULT_STATEMENT_TIMEOUT } from '../../db/executor.js';
import { HEARTBEAT_MS } from '../../db/listener.js';
import type { OnStatement, StatementEvent } from '../../db/statement-event.js';
import type { StoreEvent } from '../../model/event.js';
import type { Duration } from '../../model/job.js';
import { checkLogger, defaultLogger, type Logger, safely } from '../../model/logger.js';
import { durationIn, MAX_TIMER_MS } from '../../model/options/duration.js';
import { integerIn } from '../../model/options/names.js';
import { readOptions } from '../../model/options/option-object.js';
import { DEFAULT_MAX_PAYLOAD_BYTES } from '../../model/payload/values.js';
import { show } from '../../model/text.js';
import { watched } from '../../model/watched.js';

export interface PgStoreOptions {
  /** A URL, or postgres.js options: the store opens and closes its own connections. Either this or `db`. */
  connection?: ConnectionOptions;
  /** The app's Drizzle database, over any Postgres driver. The store never closes its client. */
  db?: DrizzleLike;
  /** The Postgres schema of the tables. Default: the first of the connection's search path. */
  schema?: string;
  /** Whether `connect()` migrates the tables; with false it only verifies them. Default true. */
  autoMigrate?: boolean;
  /** Default: warnings and errors go to the console. */
  logger?: Logger;
  /** Called when a subscriber throws, or its promise is rejected. Default: a warning. */
  onEventHandlerError?: (error: unknown, event: StoreEvent) => void;
  metrics?: {
    /** Default false. */
    enabled?: boolean;
    /** How long minute buckets are kept: a number of minutes, or a text such as `'2 days'`. Default 1440. */
    retentionMinutes?: Duration;
    /** How long hour buckets are kept: a number of hours, or a text such as `'4 weeks'`. Default 720. */
    retentionHours?: Duration;
  };
  /**
   * Where to LISTEN for notifications: `true` on one more connection with the options of the store's others; a URL for a
   * direct connection, where those go through a pooler; `false` to poll only. Default true; with a Drizzle driver other
   * than postgres.js that only polls, and warns.
   */
  listen?: boolean | string;
  /** Largest payload, and largest result, in bytes of JSON. Default 10 MiB. */
  maxPayloadBytes?: number;
  /**
   * Longest time between two looks at the tables while the store has a worker and notifications arrive: ms or a
   * duration, from 100 ms, or `false`. Default 10,000; without notifications 1,000.
   *
   * With `false` an idle process sends no statement: it reads the tables when it is woken, when a delayed job or a tick
   * is due, when LISTEN reconnects, and every 10 s as long as a job of its queues is active. The price: a job whose
   * notification is lost waits until the next of these, as do, once nothing runs, jobs that are past their
   * `removeOnComplete` or `removeOnFail` time, and jobs of a worker that died before this process knew of them. With
   * `listen: false` as well, jobs that other processes add are found no earlier than that.
   */
  pollInterval?: Duration | false;
  /**
   * Time between two checks of the LISTEN connection, each of which also looks at the tables: ms or a duration, from
   * 1 s, or `false`. Default 10,000, or `pollInterval` if that is longer or `false`. With `false` a connection that is
   * lost without a sign, or that no longer receives notifications, is not noticed.
   */
  heartbeatInterval?: Duration | false;
  /** Time limit of each statement: ms, or a duration. Default 30,000. */
  statementTimeout?: Duration;
  /**
   * Called after every statement with its name, its duration in ms and its number of rows: for debug logs and telemetry.
   * What it throws or rejects with is logged and otherwise ignored.
   */
  onStatement?: (event: StatementEvent) => unknown;
}

/** The options with all defaults applied. */
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
  /** ms; undefined: as is usual with or without notifications; Infinity: only when woken or due. */
  readonly pollInterval: number | undefined;
  /** ms; Infinity: none. */
  readonly heartbeatInterval: number;
  readonly statementTimeout: number;
  readonly onStatement: OnStatement | undefined;
}

/** What Postgres takes for a setting or an interval. */
const MAX_INTEGER = 2_147_483_647;
/** Well below what jsonb can hold. */
const MAX_MAX_PAYLOAD_BYTES = 200 * 1024 * 1024;
const MIN_STATEMENT_TIMEOUT = 100;
const MIN_POLL_INTERVAL = 100;
const MIN_HEARTBEAT_INTERVAL = 1_000;
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
  'pollInterval',
  'heartbeatInterval',
  'statementTimeout',
  'onStatement',
] as const;

/** @throws TypeError or RangeError that names the option */
export function resolveOptions(options: PgStoreOptions): ResolvedOptions {
  if (options === null || typeof options !== 'object') {
    throw new TypeError('new PgStore() needs options: { connection } or { db }.');
  }
  readOptions(options, 'PgStore options', KNOWN);
  const { connection, db, schema, onEventHandlerError, onStatement } = options;
  const listen = options.listen ?? true;
  const metrics = options.metrics ?? {};
  checkDatabase(connection, db);
  if (schema !== undefined && (typeof schema !== 'string' || schema.length === 0 || Buffer.byteLength(schema) > 63)) {
    throw new RangeError(`PgStore \`schema\` is ${show(schema)}; it must be a name of 1 to 63 bytes.`);
  }
  if (typeof listen !== 'boolean' && typeof listen !== 'string') {
    throw new TypeError(`PgStore \`listen\` is ${show(listen)}; it must be true, false or a connection URL.`);
  }
  if (typeof listen === 'string') checkConnection(listen, 'PgStore `listen`');
  if (onEventHandlerError !== undefined && typeof onEventHandlerError !== 'function') {
    throw new TypeError(`PgStore \`onEventHandlerError\` is ${show(onEventHandlerError)}; it must be a function.`);
  }
  if (onStatement !== undefined && typeof onStatement !== 'function') {
    throw new TypeError(`PgStore \`onStatement\` is ${show(onStatement)}; it must be a function.`);
  }
  readOptions(metrics, 'metrics', ['enabled', 'retentionMinutes', 'retentionHours']);
  const pollInterval = intervalOrNone(options.pollInterval, 'pollInterval', MIN_POLL_INTERVAL);
  const logger = safely(options.logger === undefined ? defaultLogger : checkLogger(options.logger, 'logger'));
  return {
    connection,
    db,
    schema,
    autoMigrate: booleanOr(true, options.autoMigrate, 'autoMigrate'),
    logger,
    onEventHandlerError:
      onEventHandlerError ??
      ((error, event) => logger.warn(`conveyor: a subscriber of "${event.queueName}" threw on ${event.type}`, error)),
    metrics: {
      enabled: booleanOr(false, metrics.enabled, 'metrics.enabled'),
      retentionMinutes: wholeUnits(metrics.retentionMinutes ?? 1_440, 'metrics.retentionMinutes', 60_000),
      retentionHours: wholeUnits(metrics.retentionHours ?? 720, 'metrics.retentionHours', 3_600_000),
    },
    listen,
    maxPayloadBytes: integerIn(
      options.maxPayloadBytes ?? DEFAULT_MAX_PAYLOAD_BYTES,
      'maxPayloadBytes',
      1,
      MAX_MAX_PAYLOAD_BYTES,
    ),
    pollInterval,
    heartbeatInterval:
      intervalOrNone(options.heartbeatInterval, 'heartbeatInterval', MIN_HEARTBEAT_INTERVAL) ??
      Math.max(HEARTBEAT_MS, pollInterval ?? 0),
    statementTimeout: durationIn(
      options.statementTimeout ?? DEFAULT_STATEMENT_TIMEOUT,
      'statementTimeout',
      MIN_STATEMENT_TIMEOUT,
      MAX_INTEGER,
    ),
    onStatement: onStatement && guarded(onStatement, logger),
  };
}

/** A statement's caller must not fail with the app's observer of it. */
function guarded(onStatement: (event: StatementEvent) => unknown, logger: Logger): OnStatement {
  const failed = (error: unknown) => logger.warn('conveyor: onStatement failed', error);
  return (event) => watched(() => onStatement(event), failed);
}

function checkDatabase(connection: unknown, db: Partial<DrizzleLike> | null | undefined): void {
  if ((connection === undefined) === (db === undefined)) {
    const hint = db === undefined ? ' Both are undefined; is DATABASE_URL set?' : '';
    throw new TypeError(
      `PgStore needs exactly one of \`connection\` (a URL or postgres.js options) and \`db\` (Drizzle).${hint}`,
    );
  }
  if (db !== undefined && typeof db?.execute !== 'function') {
    throw new TypeError('PgStore `db` must be a Drizzle database for Postgres (it has no execute()).');
  }
  if (connection !== undefined) checkConnection(connection, 'PgStore `connection`');
}

/** Infinity for `false`; undefined when it is not given. */
function intervalOrNone(value: unknown, name: string, min: number): number | undefined {
  if (value === undefined) return undefined;
  if (value === false || value === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
  if (value === true) throw new TypeError(`${name} is true; it must be a duration, or false for none.`);
  return durationIn(value, name, min, MAX_TIMER_MS);
}

/** A number of minutes or hours; a text is rounded up to whole ones. */
function wholeUnits(value: unknown, name: string, unitMs: number): number {
  if (typeof value !== 'string') return integerIn(value, name, 1, MAX_INTEGER);
  return Math.ceil(durationIn(value, name, 1, MAX_INTEGER * unitMs) / unitMs);
}

function booleanOr(fallback: boolean, value: unknown, name: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? fallback;
  throw new TypeError(`PgStore \`${name}\` is ${show(value)}; it must be true or false.`);
}
