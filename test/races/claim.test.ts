import { expect, it } from 'vitest';
import type { Job } from '../../src/index.js';
import { claim } from '../../src/store/claim/claim.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { record, usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();
const many = (count: number) => Array.from({ length: count }, (_, data) => ({ name: 'work', data }));

it('sixteen claims at once never take a job twice', async () => {
  const stores = await Promise.all(Array.from({ length: 4 }, () => play.open()));
  const queue = play.queue(stores[0] as (typeof stores)[number]);
  const jobs = await queue.addBulk(many(2_000));
  const taken: string[] = [];
  const rounds = async ({ engine }: (typeof stores)[number], workerId: string) => {
    for (;;) {
      const claimed = await claim(engine.executor, {
        queueName: queue.name,
        workerId,
        lockDuration: 60_000,
        limit: 37,
      });
      taken.push(...claimed.map(({ job }) => job.id));
      if (claimed.length === 0) return;
    }
  };
  await Promise.all(
    Array.from({ length: 16 }, (_, n) => rounds(stores[n % 4] as (typeof stores)[number], `worker-${n}`)),
  );
  expect(taken).toHaveLength(2_000);
  expect(new Set(taken)).toEqual(new Set(jobs.map(({ id }) => id)));
});

it('a claim passes over what another has taken and not committed', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const [first, second] = (await queue.addBulk(many(2))) as [Job, Job];
  const other = await openTransaction(play.database.sql);
  await other.sql`update conveyor_jobs set state = 'active', lease = lease + 1, locked_by = 'other',
    lock_until = now() + interval '1 minute' where id = ${first.id}`;
  const request = { queueName: queue.name, workerId: 'me', lockDuration: 60_000, limit: 2 };
  expect((await claim(store.engine.executor, request)).map(({ job }) => job.id)).toEqual([second.id]);
  await other.rollback();
  expect((await claim(store.engine.executor, request)).map(({ job }) => job.id)).toEqual([first.id]);
});

it('a job that is cancelled while a claim is under way is told so, and does not run twice', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const job = await queue.add('work', null, { attempts: 3 });
  // The claim of a worker that has not committed yet.
  const claiming = await openTransaction(play.database.sql);
  await claiming.sql`update conveyor_jobs set state = 'active', lease = lease + 1, locked_by = 'other',
    lock_until = now() + interval '300 milliseconds' where id = ${job.id}`;
  const cancelled = job.cancel();
  await untilWaiting(play.database.sql);
  await claiming.commit();
  expect(await cancelled).toBe(true);
  expect((await queue.getJob(job.id))?.state).toBe('active');
  // That worker dies: the job is not tried again.
  let runs = 0;
  play.worker(queue, store, async () => void runs++, { stalledInterval: 50 });
  await until(async () => (await queue.getJob(job.id))?.state === 'failed');
  expect((await queue.getJob(job.id))?.failedReason).toBe('Job cancelled');
  expect(runs).toBe(0);
});

it('a job that is removed while it is claimed is lost to its worker', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const heard = record(play.worker(queue, store, () => release.promise));
  const job = await queue.add('work', null);
  await until(() => heard.active.length === 1);
  await job.remove();
  release.resolve();
  await until(() => heard.errors.length === 1);
  expect(heard.completed).toEqual([]);
});
