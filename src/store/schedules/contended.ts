import { ConveyorError } from '../../model/errors.js';

const ROUNDS = 20;

/**
 * Runs a statement that changes a schedule and its jobs, until it resolves to something. A statement that waited for the
 * schedule's row sees the jobs as they were before, and then does nothing: the next one sees what they are.
 *
 * @throws ConveyorError `SCHEDULE_CONTENDED`
 */
export async function untilSettled<T>(queueName: string, key: string, run: () => Promise<T | undefined>): Promise<T> {
  for (let round = 0; round < ROUNDS; round++) {
    const done = await run();
    if (done !== undefined) return done;
  }
  throw new ConveyorError(
    `Schedule "${key}" of queue "${queueName}" was changed too often by others meanwhile: try again.`,
    { code: 'SCHEDULE_CONTENDED' },
  );
}
