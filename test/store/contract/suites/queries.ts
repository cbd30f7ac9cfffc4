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

    describe('search', () => {
      const odd = ['100% done', '100x done', 'a_b', 'axb', 'back\\slash', 'MiXeD Case', 'ünï 🎉'];

      test('searchByName finds a substring in any case, newest first', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('waiting', { id: '2', name: 'send-Email', createdAt: at(2) }),
          jobIn('completed', { id: '3', name: 'EMAIL', createdAt: at(3) }),
          jobIn('failed', { id: '1', name: 'email-digest', createdAt: at(1) }),
          jobIn('failed', { id: '0', name: 'mail', createdAt: at(4) }),
          jobIn('failed', { id: '3b', name: 'email', createdAt: at(3) }),
        ]);
        expect(ids(await store.searchByName('email', q))).toEqual(['3b', '3', '2', '1']);
        expect(ids(await store.searchByName('email', q, 2))).toEqual(['3b', '3']);
        expect(await store.searchByName('email', q, 0)).toEqual([]);
        expect(await store.searchByName('letter', q)).toEqual([]);
      });

      test('searchByName without a queue looks into all of them', async () => {
        const [a, b] = [newQueue(), newQueue()];
        const name = `everywhere ${a}`;
        await store.saveJob(a, jobIn('waiting', { id: 'a', name, createdAt: at(1) }));
        await store.saveJob(b, jobIn('waiting', { id: 'b', name, createdAt: at(2) }));
        expect(ids(await store.searchByName(name))).toEqual(['b', 'a']);
        expect(ids(await store.searchByName(name, a))).toEqual(['a']);
      });

      test('percent, underscore and backslash mean themselves', async () => {
        const q = newQueue();
        await store.saveBulk(
          q,
          odd.map((name) => jobIn('waiting', { name, data: { text: name } })),
        );
        const names = async (text: string) => (await store.searchByName(text, q)).map(({ name }) => name);
        const payloads = async (text: string) => (await store.searchByPayload(q, text)).map(({ name }) => name);
        for (const found of [names, payloads]) {
          expect(await found('100%')).toEqual(['100% done']);
          expect(await found('a_b')).toEqual(['a_b']);
          expect(await found('back\\slash')).toEqual(['back\\slash']);
          expect(await found('mixed case')).toEqual(['MiXeD Case']);
          expect(await found('🎉')).toEqual(['ünï 🎉']);
        }
        expect(await names('%')).toEqual(['100% done']);
        expect(await names('\\')).toEqual(['back\\slash']);
        expect(await names('')).toHaveLength(odd.length);
      });

      test('searchByPayload finds what is anywhere in the payload', async () => {
        const q = newQueue();
        await store.saveBulk(q, [
          jobIn('waiting', { id: '1', data: { user: { email: 'Ann@example.org' } }, createdAt: at(1) }),
          jobIn('failed', { id: '2', data: ['x', 'ann@EXAMPLE.org'], createdAt: at(2) }),
          jobIn('waiting', { id: '3', data: 'line one\nsays "hi"', createdAt: at(3) }),
          jobIn('waiting', { id: '4', data: 12.5, createdAt: at(4) }),
          jobIn('waiting', { id: '5', name: 'ann@example.org', createdAt: at(5) }),
        ]);
        await store.saveJob(newQueue(), jobIn('waiting', { data: 'ann@example.org' }));
        expect(ids(await store.searchByPayload(q, 'ann@example'))).toEqual(['2', '1']);
        expect(ids(await store.searchByPayload(q, 'ann@example', 1))).toEqual(['2']);
        expect(ids(await store.searchByPayload(q, 'says "hi"'))).toEqual(['3']);
        expect(ids(await store.searchByPayload(q, 'one\nsays'))).toEqual(['3']);
        expect(ids(await store.searchByPayload(q, '12.5'))).toEqual(['4']);
        expect(ids(await store.searchByPayload(q, 'email'))).toEqual(['1']);
      });

      test('what no job can contain is not found, and nonsense is refused', async () => {
        const q = newQueue();
        await store.saveJob(q, jobIn('waiting', { name: '\ufffd', data: '\ufffd' }));
        expect(await store.searchByName('\0', q)).toEqual([]);
        expect(await store.searchByPayload(q, '\ud800')).toEqual([]);
        expect(await store.searchJobs({ name: '\0' })).toEqual({ jobs: [], total: 0 });
        await expect(store.searchByName(7 as never)).rejects.toThrow(TypeError);
        await expect(store.searchByPayload(q, 'x', -1)).rejects.toThrow(/limit is -1/);
        await expect(store.searchJobs({ states: ['done' as never] })).rejects.toThrow(RangeError);
        await expect(store.searchJobs({ createdAfter: new Date(Number.NaN) })).rejects.toThrow(/createdAfter/);
        await expect(store.searchJobs({ createdBefore: '2024' as never })).rejects.toThrow(TypeError);
      });
    });

    describe('searchJobs', () => {
      const q = newQueue('searched');
      beforeAll(async () => {
        await store.saveBulk(q, [
          ...[1, 2, 3, 4, 5].map((n) => jobIn('waiting', { id: `w${n}`, name: `Report ${n}`, createdAt: at(n) })),
          jobIn('failed', { id: 'f3', name: 'report', createdAt: at(3) }),
          jobIn('completed', { id: 'c6', name: 'invoice', createdAt: at(6) }),
        ]);
      });

      test('newest first, ties newest insertion first', async () => {
        const { jobs, total } = await store.searchJobs({ queueName: q });
        expect(ids(jobs)).toEqual(['c6', 'w5', 'w4', 'f3', 'w3', 'w2', 'w1']);
        expect(total).toBe(7);
      });

      test('the total does not depend on the page', async () => {
        expect(await store.searchJobs({ queueName: q }, 0, 0)).toEqual({ jobs: [], total: 7 });
        expect(await store.searchJobs({ queueName: q }, 50, 60)).toEqual({ jobs: [], total: 7 });
        const page = await store.searchJobs({ queueName: q }, 2, 4);
        expect([ids(page.jobs), page.total]).toEqual([['w4', 'f3'], 7]);
      });

      test('by states, name and both', async () => {
        const found = async (filter: object) => {
          const { jobs, total } = await store.searchJobs({ queueName: q, ...filter });
          expect(total).toBe(jobs.length);
          return ids(jobs);
        };
        expect(await found({ states: ['failed'] })).toEqual(['f3']);
        expect(await found({ states: ['failed', 'completed'] })).toEqual(['c6', 'f3']);
        expect(await found({ states: [] })).toHaveLength(7);
        expect(await found({ name: 'REPORT' })).toHaveLength(6);
        expect(await found({ name: 'report', states: ['failed', 'failed'] })).toEqual(['f3']);
        expect(await found({ states: ['active'] })).toEqual([]);
      });

      test('dates are inclusive', async () => {
        const found = async (filter: object) => ids((await store.searchJobs({ queueName: q, ...filter })).jobs);
        expect(await found({ createdAfter: at(5) })).toEqual(['c6', 'w5']);
        expect(await found({ createdBefore: at(2) })).toEqual(['w2', 'w1']);
        expect(await found({ createdAfter: at(3), createdBefore: at(3) })).toEqual(['f3', 'w3']);
        expect(await found({ createdAfter: at(4), createdBefore: at(3) })).toEqual([]);
        expect(await found({ createdAfter: new Date(-8.64e15), createdBefore: new Date(8.64e15) })).toHaveLength(7);
      });

      test('without a queue: all of them', async () => {
        const { jobs } = await store.searchJobs({ createdBefore: at(6), createdAfter: at(6), name: 'invoice' });
        expect(ids(jobs)).toContain('c6');
      });
    });

    describe('listFlowParents', () => {
      test('jobs that have children, in any queue, newest first', async () => {
        await store.truncateAll();
        const [a, b] = [newQueue(), newQueue()];
        const parent = { childrenIds: ['x', 'y'] };
        await store.saveBulk(a, [
          jobIn('waiting-children', { id: '1', ...parent, createdAt: at(1) }),
          jobIn('completed', { id: '3', ...parent, createdAt: at(3) }),
          jobIn('waiting', { id: 'child', parentId: '1', parentQueueName: a, createdAt: at(9) }),
        ]);
        await store.saveBulk(b, [
          jobIn('waiting-children', { id: '2', pendingChildrenCount: 2, createdAt: at(2) }),
          jobIn('failed', { id: '4', ...parent, createdAt: at(4) }),
          jobIn('failed', { id: '4b', ...parent, createdAt: at(4) }),
        ]);
        expect(ids(await store.listFlowParents())).toEqual(['4b', '4', '3', '2', '1']);
        expect(ids(await store.listFlowParents(undefined, 2))).toEqual(['4b', '4']);
        expect(ids(await store.listFlowParents('waiting-children'))).toEqual(['2', '1']);
        expect(ids(await store.listFlowParents('completed'))).toEqual(['3']);
        expect(await store.listFlowParents('active')).toEqual([]);
        expect(await store.listFlowParents('failed', 0)).toEqual([]);
        await expect(store.listFlowParents('done' as never)).rejects.toThrow(RangeError);
        await expect(store.listFlowParents('failed', -1)).rejects.toThrow(/limit is -1/);
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
