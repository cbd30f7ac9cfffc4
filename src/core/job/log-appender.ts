import { JobNotFoundError, LeaseLostError } from '../../model/errors.js';
import { appendLog } from '../../store/change/log-and-progress.js';
import type { Lease } from '../../store/rules/lease.js';
import { Batcher } from '../../store/runtime/batcher.js';
import type { Engine } from '../../store/runtime/engine.js';

/** Lines and characters of one append. */
const BATCH = { maxItems: 1_000, maxSize: 1_000_000, parallel: 1 };

interface Appender {
  /** Resolves for each line to whether it was appended. */
  readonly lines: Batcher<string, boolean>;
  /** Lines that are not appended yet. */
  pending: number;
}

const appenders = new WeakMap<Engine, Map<string, Appender>>();

/**
 * Appends a line to a job's log. Lines that are logged while an append is under way go together in the next one: ten
 * thousand lines are a few statements, however many `Job` objects of this process log them.
 *
 * @throws LeaseLostError with a lease that is lost; JobNotFoundError without one when there is no such job
 */
export async function appendLine(
  engine: Engine,
  queueName: string,
  id: string,
  line: string,
  lease: Lease | null,
): Promise<void> {
  let ofEngine = appenders.get(engine);
  if (!ofEngine) {
    ofEngine = new Map();
    appenders.set(engine, ofEngine);
  }
  const key = `${queueName}\n${id}\n${lease?.lease ?? ''}`;
  let appender = ofEngine.get(key);
  if (!appender) {
    const append = async (lines: string[]) => {
      const done = await appendLog(engine.executor, queueName, id, JSON.stringify(lines), lease);
      return lines.map(() => done);
    };
    appender = { lines: new Batcher(append, BATCH), pending: 0 };
    ofEngine.set(key, appender);
  }
  appender.pending++;
  try {
    const done = await appender.lines.push(line, line.length + 1);
    if (!done) throw lease ? new LeaseLostError(id, queueName) : new JobNotFoundError(id, queueName);
  } finally {
    if (--appender.pending === 0) ofEngine.delete(key);
  }
}
