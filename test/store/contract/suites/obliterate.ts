import { beforeAll, describe, expect, test } from 'vitest';
import { ConveyorError } from '../../../../src/model/errors.js';
import { JOB_STATES } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction, watchStatements } from '../../../support/held.js';
import { insertRows, jobIn, newQueue } from '../../../support/rows.js';
import { barrier, until } from '../../../support/until.js';

const INACTIVE = JOB_STATES.filter((state) => state !== 'active');

/** spec/store.md: `obliterate`. */
export function describeObliterate(makeFactory: MakeFactory): void {
  describe('obliterate', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    test('removes all jobs of the queue, and the names it paused', async () => {
      const [q, other] = [newQueue(), newQueue()];
      for (const queue of [q, other])
        await store.saveBulk(
          queue,
          INACTIVE.map((state) => jobIn(state)),
        );
      await store.pauseJobName(q, 'a name');
      await store.pauseJobName(other, 'a name');
      await store.obliterate(q);
      expect(Object.values(await store.getJobCounts(q))).toEqual([0, 0, 0, 0, 0, 0]);
      expect(await store.getPausedJobNames(q)).toEqual([]);
      expect(Object.values(await store.getJobCounts(other)).reduce((a, b) => a + b)).toBe(5);
      expect(await store.getPausedJobNames(other)).toEqual(['a name']);
    });

    test('the queue can be used at once again', async () => {
      const q = newQueue();
      await store.pauseJobName(q, '__all__');
      await store.saveJob(q, jobIn('waiting', { id: 'same', deduplicationKey: 'key' }));
      await store.obliterate(q);
      expect(await store.saveJob(q, jobIn('waiting', { id: 'same', deduplicationKey: 'key' }))).toBe('same');
      expect(await store.fetchNextJob(q, 'worker', 1_000)).toMatchObject({ id: 'same' });
    });

    test('rejects when jobs are active, and leaves everything as it was', async () => {
      const q = newQueue();
      await store.saveBulk(
        q,
        JOB_STATES.map((state) => jobIn(state)),
      );
      await store.pauseJobName(q, 'a name');
      const rejection = expect(store.obliterate(q)).rejects;
      await rejection.toThrow(/active jobs exist/);
      await expect(store.obliterate(q, { force: false })).rejects.toBeInstanceOf(ConveyorError);
      expect(Object.values(await store.getJobCounts(q))).toEqual([1, 1, 1, 1, 1, 1]);
      expect(await store.getPausedJobNames(q)).toEqual(['a name']);
      expect(await store.fetchNextJob(q, 'worker', 1_000)).not.toBeNull();
    });

    test('an active job without a live lock is active all the same', async () => {
      const q = newQueue();
      await store.saveJob(q, jobIn('active', { lockUntil: null, lockedBy: null }));
      await expect(store.obliterate(q)).rejects.toThrow(/active jobs exist/);
    });

    test('force takes active jobs as well', async () => {
      const q = newQueue();
      await store.saveBulk(
        q,
        JOB_STATES.map((state) => jobIn(state)),
      );
      await store.obliterate(q, { force: true });
      expect(Object.values(await store.getJobCounts(q))).toEqual([0, 0, 0, 0, 0, 0]);
    });

    test('an unknown queue: nothing', async () => {
      await store.obliterate(newQueue());
      await store.obliterate(newQueue(), { force: true });
    });

    test('parents in other queues are reached by policy', async () => {
      const [q, parents] = [newQueue(), newQueue()];
      await store.saveBulk(parents, [
        jobIn('waiting-children', { id: 'of waiting' }),
        jobIn('waiting-children', { id: 'of active', opts: { failParentOnChildFailure: 'ignore' } }),
        jobIn('waiting-children', { id: 'of completed' }),
      ]);
      const child = (parentId: string) => ({ parentId, parentQueueName: parents });
      await store.saveBulk(q, [
        jobIn('waiting', child('of waiting')),
        jobIn('active', child('of active')),
        jobIn('completed', child('of completed')),
      ]);
      await store.obliterate(q, { force: true });
      expect(await store.getJob(parents, 'of waiting')).toMatchObject({ state: 'failed' });
      expect(await store.getJob(parents, 'of active')).toMatchObject({ state: 'waiting' });
      expect(await store.getJob(parents, 'of completed')).toMatchObject({ state: 'waiting-children' });
    });

    test('against claims: either none was made, or it is refused and all is there', async () => {
      const second = await factory.open();
      let refused = 0;
      for (let round = 0; round < 25; round++) {
        const q = newQueue();
        await store.saveBulk(
          q,
          Array.from({ length: 30 }, (_, i) => jobIn('waiting', { id: `${i}` })),
        );
        const start = barrier(5);
        const claimer = async (each: ContractStore, worker: string) => {
          await start();
          let claimed = 0;
          // One that begins later than the others meets the removal at another point.
          for (let i = 0; i < 1 + (round % 5); i++) if (await each.fetchNextJob(q, worker, 60_000)) claimed++;
          return claimed;
        };
        const removal = (async () => {
          await start();
          return store.obliterate(q).then(
            () => true,
            (error: Error) => {
              expect(error.message).toMatch(/active jobs exist/);
              return false;
            },
          );
        })();
        const claimers = [store, second, store, second].map((each, i) => claimer(each, `worker-${i}`));
        const claimed = (await Promise.all(claimers)).reduce((a, b) => a + b);
        const counts = await removal.then(() => store.getJobCounts(q));
        if (await removal) {
          expect([claimed, counts.active, counts.waiting]).toEqual([0, 0, 0]);
        } else {
          refused++;
          expect(counts.active).toBe(claimed);
          expect(counts.active + counts.waiting).toBe(30);
          expect(await store.getPausedJobNames(q)).toEqual([]);
        }
      }
      expect(refused).toBeGreaterThan(0);
    });

    describe.runIf(factory.database)('in Postgres', () => {
      test('nothing of the queue is left in any table', async () => {
        const { sql } = factory.database!;
        const [q, other] = [newQueue(), newQueue()];
        const tables = ['jobs', 'paused_names', 'group_cursors', 'rate_limits', 'schedules', 'metrics'];
        for (const queue of [q, other]) {
          await store.saveBulk(
            queue,
            INACTIVE.map((state) => jobIn(state)),
          );
          await store.pauseJobName(queue, 'x');
          await sql`insert into conveyor_group_cursors (queue_name, group_id) values (${queue}, 'a'), (${queue}, 'b')`;
          await sql`insert into conveyor_rate_limits (queue_name) values (${queue})`;
          await sql`insert into conveyor_schedules (queue_name, key, job_name, data, opts, every_ms, anchor_at)
            values (${queue}, 'k', 'n', '{}', '{}', 1000, now())`;
          await sql`insert into conveyor_metrics (queue_name, job_name, granularity, period_start)
            select ${queue}, 'n' || i, 'minute', now() from generate_series(1, 2500) i`;
        }
        await store.obliterate(q);
        for (const name of tables) {
          const table = sql(`conveyor_${name}`);
          expect(await sql`select 1 from ${table} where queue_name = ${q}`, name).toHaveLength(0);
          expect(await sql`select 1 from ${table} where queue_name = ${other}`, name).not.toHaveLength(0);
        }
      });

      test('a claim that had begun is waited for, and refuses it', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await insertRows(sql, q, 3_000);
        const claim = await openTransaction(sql);
        await claim.sql`update conveyor_jobs set state = 'active' where queue_name = ${q} and id = 'row-2999'`;
        const removal = store.obliterate(q).then(
          () => 'removed',
          (error: Error) => error.message,
        );
        await until(async () => (await store.getPausedJobNames(q)).length > 0, { what: 'the queue to be stopped' });
        expect(await store.fetchNextJob(q, 'worker', 1_000)).toBeNull();
        await claim.commit();
        expect(await removal).toMatch(/active jobs exist/);
        expect(await store.getJobCounts(q)).toMatchObject({ waiting: 2_999, active: 1 });
        expect(await store.getPausedJobNames(q)).toEqual([]);
      });

      test('a claim that came to nothing does not', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await insertRows(sql, q, 10);
        const claim = await openTransaction(sql);
        await claim.sql`update conveyor_jobs set state = 'active' where queue_name = ${q} and id = 'row-1'`;
        const removal = store.obliterate(q);
        await until(async () => (await store.getPausedJobNames(q)).length > 0, { what: 'the queue to be stopped' });
        await claim.rollback();
        await removal;
        expect(Object.values(await store.getJobCounts(q))).toEqual([0, 0, 0, 0, 0, 0]);
      });

      test('chunk by chunk', async () => {
        const { sql } = factory.database!;
        const q = newQueue();
        await insertRows(sql, q, 6_000);
        await insertRows(sql, q, 6_000, { id: `'done-' || i`, state: `'completed'`, completed_at: 'now()' });
        const statements = await watchStatements(sql);
        await store.obliterate(q);
        expect(await statements.largest()).toBeLessThanOrEqual(5_000);
        await statements.end();
        expect(await sql`select 1 from conveyor_jobs where queue_name = ${q}`).toHaveLength(0);
      });
    });
  });
}
