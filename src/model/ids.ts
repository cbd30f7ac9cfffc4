import { randomUUID } from 'node:crypto';
import { v7 } from 'uuid';

/**
 * A new job id: a UUID v7. Ids of one process ascend, also within a millisecond, so that inserts stay at one end of
 * the primary key's index.
 */
export function generateId(): string {
  return v7();
}

/** A new worker id: `worker-` and a random UUID. */
export function generateWorkerId(): string {
  return `worker-${randomUUID()}`;
}
