import type { Engine } from '../../store/runtime/engine.js';
import type { ResolvedWorkerOptions } from './worker-options.js';

/** Connections that a worker needs beside those of its handlers. */
const OWN_CONNECTIONS = 2;

/** Warns when the app's client has fewer connections than the worker and its handlers may need at once. */
export function warnOfSmallPool(engine: Engine, options: ResolvedWorkerOptions, queueName: string): void {
  const { concurrency, logger } = options;
  const max = engine.sharedConnections;
  if (max === undefined || max >= concurrency + OWN_CONNECTIONS) return;
  logger.warn(
    `conveyor: the worker of "${queueName}" has concurrency: ${concurrency}, and the client behind \`db\` has ` +
      `max: ${max}. Handlers that each hold a transaction leave none to renew leases with, and jobs are lost: set ` +
      `max to ${concurrency + OWN_CONNECTIONS} or more on the client, or lower the concurrency`,
  );
}
