import { expect, it } from 'vitest';
import { record, usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

it('a claim that a crash of the server has undone: its end is not taken for that of the next, equal one', async () => {
  const { sql } = play.database;
  const [first, second] = [await play.open(), await play.open()];
  const queue = play.queue(first);
  const [began, goOn] = [deferred(), deferred()];
  const run = async () => {
    began.resolve();
    await goOn.promise;
    return 'first';
  };
  const slow = record(play.worker(queue, first, run));
  const job = await queue.add('job', 1, { attempts: 3 });
  await began.promise;
  // What the server has after a crash: a claim does not wait for the disk.
  await sql`update conveyor_jobs set state = 'waiting', lease = lease - 1, locked_by = null, lock_until = null,
    processed_at = null, started_lease = null where id = ${job.id}`;
  const quick = record(play.worker(queue, second, async () => 'second'));
  await until(async () => (await queue.getJob(job.id))?.state === 'completed');
  await until(() => quick.completed.length === 1);
  goOn.resolve();
  await until(() => slow.errors.length + slow.completed.length > 0);
  expect(slow.completed).toEqual([]);
  expect(slow.errors).toMatchObject([{ code: 'LEASE_LOST' }]);
  expect((await queue.getJob(job.id))?.returnvalue).toBe('second');
});
