import { JobNotFoundError, LeaseLostError } from '../model/errors.js';
import { Batcher } from '../store/batcher.js';
import type { Engine } from '../store/engine.js';
import { appendLog, type Fence } from '../store/jobs.js';

/** Lines of one append. */
const BATCH = { maxItems: 1_000, maxSize: 1_000_000, parallel: 1 };

const appenders = new WeakMap<Engine, Map<string, Batcher<string, void>>>();

/**
 * Appends a line to a job's log. Lines logged while an append is under way go together in the next: ten thousand
 * lines are a few statements, from however many `Job` objects of this process.
 */
export function appendLine(
  engine: Engine,
  queueName: string,
  id: string,
  line: string,
  fence: Fence | null,
): Promise<void> {
  let ofEngine = appenders.get(engine);
  if (!ofEngine) {
    ofEngine = new Map();
    appenders.set(engine, ofEngine);
  }
  const key = `${queueName}\n${id}\n${fence?.lease ?? ''}`;
  let batcher = ofEngine.get(key);
  if (!batcher) {
    batcher = new Batcher<string, void>(async (lines) => {
      const done = await appendLog(engine.executor, queueName, id, JSON.stringify(lines), fence);
      if (!done) throw fence ? new LeaseLostError(id, queueName) : new JobNotFoundError(id, queueName);
      return [];
    }, BATCH);
    ofEngine.set(key, batcher);
  }
  const appended = batcher.push(line, line.length + 1);
  void batcher.idle().then(() => ofEngine.delete(key));
  return appended;
}
