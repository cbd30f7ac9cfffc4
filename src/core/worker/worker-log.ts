import { ConveyorError } from '../../model/errors.js';
import type { JobData } from '../../model/job.js';
import type { Logger } from '../../model/logger.js';
import { errorText } from '../../model/payload/error-text.js';

/** What a worker logs where nobody would learn of it otherwise. */

/** Connections that a worker needs beside those of its handlers. */
const OWN_CONNECTIONS = 2;

/** A worker that has waited for its store to connect for this long says so, in ms. */
const CONNECT_WARNING_MS = 4_000;

/** Warns after a while; to be cleared when the store is connected. */
export function expectConnection(queueName: string, logger: Logger): NodeJS.Timeout {
  const warning =
    `conveyor: the worker of "${queueName}" has not started, because its store is not connected. Call ` +
    'await store.connect(): the worker starts as soon as that has succeeded';
  return setTimeout(() => logger.warn(warning), CONNECT_WARNING_MS);
}

/** @param max connections of the app's client; undefined where that is not known */
export function checkPool(queueName: string, concurrency: number, max: number | undefined, logger: Logger): void {
  if (max === undefined || max >= concurrency + OWN_CONNECTIONS) return;
  logger.warn(
    `conveyor: the worker of "${queueName}" has concurrency: ${concurrency}, and the client behind \`db\` has ` +
      `max: ${max}. Handlers that each hold a transaction leave none to renew leases with, and jobs are lost: set ` +
      `max to ${concurrency + OWN_CONNECTIONS} or more on the client, or lower the concurrency`,
  );
}

export function logFailure({ id, name, queueName, failedReason }: JobData, logger: Logger): void {
  logger.error(`conveyor: job "${id}" (${name}) of queue "${queueName}" failed: ${failedReason}`);
}

/** For the event `error`: what was thrown, or, where that is no error, one with its text. */
export const asError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new ConveyorError(errorText(thrown).message, { code: 'UNKNOWN_ERROR' });
