import { beforeAll, describe, expect, test } from 'vitest';
import { JOB_STATES, type JobData } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { insertRows, jobIn, newQueue } from '../../../support/rows.js';

const ids = (jobs: JobData[]) => jobs.map(({ id }) => id);
const at = (second: number) => new Date(Date.UTC(2024, 0, 1, 0, 0, second));

/** spec/store.md, Queries; `cancelJob` is with the life of an active job. */
export function describeQueries(makeFactory: MakeFactory): void {
  describe('queries', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    describe('listJobs', () => {
      test('waiting jobs by creation, oldest first, ties in the order of insertion', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('waiting', { id: 'c', createdAt: at(3) }),
          jobIn('waiting', { id: 'b1', createdAt: at(2) }),
          jobIn('waiting', { id: 'a', createdAt: at(1), opts: { priority: 9 } }),
          jobIn('waiting', { id: 'b2', createdAt: at(2) }),
        ]);
        expect(ids(await store.listJobs(q, 'waiting'))).toEqual(['a', 'b1', 'b2', 'c']);
      });

      test.each(['waiting', 'waiting-children', 'delayed', 'active'] as const)('%s: oldest first', async (state) => {
        const q = newQueue();
        await store.saveBulk(
          q,
          [2, 3, 1].map((n) => jobIn(state, { id: `${n}`, createdAt: at(n) })),
        );
        await store.saveJob(q, jobIn('completed'));
        expect(ids(await store.listJobs(q, state))).toEqual(['1', '2', '3']);
      });

      test.each(['completed', 'failed'] as const)('%s: newest finish first', async (state) => {
        const q = newQueue();
        const finished = (n: number) => (state === 'completed' ? { completedAt: at(n) } : { failedAt: at(n) });
        await store.saveBulk(q, [
          jobIn(state, { id: '20', createdAt: at(1), ...finished(20) }),
          jobIn(state, { id: '30', createdAt: at(2), ...finished(30) }),
          jobIn(state, { id: '10a', createdAt: at(3), ...finished(10) }),
          jobIn(state, { id: '10b', createdAt: at(3), ...finished(10) }),
        ]);
        expect(ids(await store.listJobs(q, state))).toEqual(['30', '20', '10b', '10a']);
      });

      test('a finished job without the time of its end goes by its creation', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('completed', { id: '10', createdAt: at(1), completedAt: at(10) }),
          jobIn('completed', { id: '15', createdAt: at(15), completedAt: null }),
          jobIn('completed', { id: '20', createdAt: at(1), completedAt: at(20) }),
          jobIn('completed', { id: '25', createdAt: at(25), completedAt: null }),
        ]);
        expect(ids(await store.listJobs(q, 'completed'))).toEqual(['25', '20', '15', '10']);
        expect(ids(await store.listJobs(q, 'completed', 1, 3))).toEqual(['20', '15']);
      });

      test('the end is exclusive; pages join without a gap or an overlap', async () => {
        const q = newQueue();
        const all = Array.from({ length: 25 }, (_, i) =>
          jobIn('failed', { id: `${i}`, failedAt: at(Math.floor(i / 5)) }),
        );
        await store.saveBulk(q, all);
        const whole = ids(await store.listJobs(q, 'failed'));
        expect(whole).toHaveLength(25);
        const pages = [0, 10, 20].map(async (start) => ids(await store.listJobs(q, 'failed', start, start + 10)));
        expect((await Promise.all(pages)).flat()).toEqual(whole);
        expect(await store.listJobs(q, 'failed', 25, 35)).toEqual([]);
        expect(await store.listJobs(q, 'failed', 3, 3)).toEqual([]);
        expect(await store.listJobs(q, 'failed', 5, 3)).toEqual([]);
      });

      test('100 jobs unless the caller says otherwise', async () => {
        const q = newQueue();
        await store.saveBulk(
          q,
          Array.from({ length: 101 }, () => jobIn('waiting')),
        );
        expect(await store.listJobs(q, 'waiting')).toHaveLength(100);
        expect(await store.listJobs(q, 'waiting', 0, 1000)).toHaveLength(101);
      });

      test('nonsense is refused by name', async () => {
        await expect(store.listJobs('q', 'done' as never)).rejects.toThrow(RangeError);
        await expect(store.listJobs('q', 'waiting', -1)).rejects.toThrow(/start is -1/);
        await expect(store.listJobs('q', 'waiting', 0, 1.5)).rejects.toThrow(/end is 1.5/);
        await expect(store.listJobs('q', 'waiting', Number.NaN)).rejects.toThrow(RangeError);
      });
    });

    describe('counts', () => {
      test('countJobs and getJobCounts', async () => {
        const q = newQueue();
        await store.saveBulk(
          q,
          JOB_STATES.flatMap((state, i) => Array.from({ length: i }, () => jobIn(state))),
        );
        await store.saveJob(newQueue(), jobIn('waiting'));
        const counts = Object.fromEntries(JOB_STATES.map((state, i) => [state, i]));
        expect(await store.getJobCounts(q)).toEqual(counts);
        for (const [i, state] of JOB_STATES.entries()) expect(await store.countJobs(q, state)).toBe(i);
        expect(await store.getActiveCount(q)).toBe(counts['active']);
      });

      test('an unknown queue has none', async () => {
        const none = Object.fromEntries(JOB_STATES.map((state) => [state, 0]));
        expect(await store.getJobCounts(newQueue())).toEqual(none);
        expect(await store.countJobs(newQueue(), 'failed')).toBe(0);
        await expect(store.countJobs('q', 'done' as never)).rejects.toThrow(RangeError);
      });

      test('of a group', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('active', { groupId: 'a' }),
          jobIn('active', { groupId: 'a' }),
          jobIn('active', { groupId: 'b' }),
          jobIn('active'),
          jobIn('waiting', { groupId: 'a' }),
          jobIn('delayed', { groupId: 'b' }),
        ]);
        expect(await store.getGroupActiveCount(q, 'a')).toBe(2);
        expect(await store.getGroupActiveCount(q, 'b')).toBe(1);
        expect(await store.getGroupActiveCount(q, 'c')).toBe(0);
        expect(await store.getWaitingGroupCount(q, 'a')).toBe(1);
        expect(await store.getWaitingGroupCount(q, 'b')).toBe(0);
      });
    });

    describe('listQueues', () => {
      test('every queue that has jobs, and what is in it', async () => {
        await store.truncateAll();
        expect(await store.listQueues()).toEqual([]);
        const names = ['zeta', 'alpha', 'ünïcode 🎉', 'alpha2', "it's"];
        for (const name of names) await store.saveJob(name, jobIn('waiting', { createdAt: at(1) }));
        await store.pauseJobName('empty', '__all__');
        await store.pauseJobName('zeta', '__all__');
        await store.pauseJobName('alpha', 'one name');
        const queues = await store.listQueues();
        expect(queues.map(({ name }) => name).sort()).toEqual([...names].sort());
        const byName = new Map(queues.map((queue) => [queue.name, queue]));
        expect(byName.get('zeta')).toEqual({
          name: 'zeta',
          counts: { waiting: 1, 'waiting-children': 0, delayed: 0, active: 0, completed: 0, failed: 0 },
          isPaused: true,
          latestActivity: at(1),
          scheduledCount: 0,
        });
        expect(byName.get('alpha')?.isPaused).toBe(false);
      });

      test('the latest activity is the newest of creation, start and end', async () => {
        await store.truncateAll();
        const early = { createdAt: at(1), processedAt: null };
        await store.saveBulk('created', [
          jobIn('waiting', { createdAt: at(9) }),
          jobIn('waiting', { createdAt: at(2) }),
        ]);
        await store.saveBulk('started', [
          jobIn('active', { createdAt: at(2), processedAt: at(8) }),
          jobIn('waiting', early),
        ]);
        await store.saveBulk('completed', [
          jobIn('completed', { ...early, completedAt: at(7) }),
          jobIn('completed', { ...early, completedAt: at(3) }),
        ]);
        await store.saveBulk('failed', [
          jobIn('failed', { ...early, failedAt: at(6) }),
          jobIn('completed', { ...early, completedAt: at(5) }),
        ]);
        await store.saveBulk('endless', [jobIn('failed', { createdAt: at(4), processedAt: at(5), failedAt: null })]);
        const latest = Object.fromEntries((await store.listQueues()).map((q) => [q.name, q.latestActivity]));
        expect(latest).toEqual({ created: at(9), started: at(8), completed: at(7), failed: at(6), endless: at(5) });
      });

      test('scheduled are the live jobs of repeating schedules', async () => {
        await store.truncateAll();
        const opts = { repeat: { every: 1_000 } };
        await store.saveBulk('scheduled', [
          jobIn('delayed', { opts }),
          jobIn('waiting', { opts }),
          jobIn('active', { opts }),
          jobIn('completed', { opts }),
          jobIn('failed', { opts }),
          jobIn('delayed'),
        ]);
        expect((await store.listQueues()).map((q) => q.scheduledCount)).toEqual([3]);
      });
    });

    describe.runIf(factory.database)('a damaged row', () => {
      const damage = [
        ['opts', `'[1]'`],
        ['opts', `'"text"'`],
        ['logs', `'{}'`],
        ['stacktrace', 'null::jsonb'],
        ['attempt_logs', `'[null, 3]'`],
        ['children_ids', `'"x"'`],
        ['children_values', `'[]'`],
        ['created_at', `'infinity'`],
        ['failed_at', `'-infinity'`],
        ['state', `'sleeping'`],
      ] as const;

      test.each(damage)('%s = %s does not break a page, and is reported once', async (column, value) => {
        const sql = factory.database!.sql;
        const warnings: string[] = [];
        const log = () => {};
        const logger = { debug: log, info: log, error: log, warn: (text: string) => warnings.push(text) };
        const own = await factory.open({ logger });
        const q = newQueue();
        await own.saveBulk(q, [jobIn('failed', { id: 'good' }), jobIn('failed', { id: 'bad', logs: ['line'] })]);
        if (value === 'null::jsonb') await sql.unsafe(`alter table conveyor_jobs alter ${column} drop not null`);
        if (column === 'state') await sql`alter table conveyor_jobs drop constraint conveyor_jobs_state_check`;
        await sql.unsafe(`update conveyor_jobs set ${column} = ${value} where queue_name = '${q}' and id = 'bad'`);

        const listed = ids(await own.listJobs(q, 'failed'));
        expect(listed).toContain('good');
        if (column !== 'state') expect(listed).toContain('bad');
        const { jobs, total } = await own.searchJobs({ queueName: q });
        // Looked for by its queue, a job is found in one of the states.
        const shown = column === 'state' ? ['good'] : ['bad', 'good'];
        expect([ids(jobs).sort(), total]).toEqual([shown, shown.length]);
        for (const job of [...jobs, await own.getJob(q, 'bad')]) {
          expect(job?.opts).toBeTypeOf('object');
          expect(job?.createdAt).toBeInstanceOf(Date);
          for (const list of ['logs', 'stacktrace', 'childrenIds', 'attemptLogs'] as const) {
            expect(Array.isArray(job?.[list])).toBe(true);
          }
        }
        expect((await own.listQueues()).map(({ name }) => name)).toContain(q);
        if (column !== 'failed_at') {
          expect(warnings.filter((text) => text.includes('"bad"'))).toHaveLength(1);
        }
        await own.obliterate(q);
      });
    });

    test.runIf(factory.database)('counts and pages come while somebody else holds the rows', async () => {
      const sql = factory.database!.sql;
      const q = newQueue();
      await insertRows(sql, q, 10);
      await sql.begin(async (tx) => {
        await tx`select 1 from conveyor_jobs where queue_name = ${q} for update`;
        expect(await store.countJobs(q, 'waiting')).toBe(10);
        expect(await store.listJobs(q, 'waiting')).toHaveLength(10);
        expect(await store.searchByName('job', q)).toHaveLength(10);
      });
    });
  });
}
