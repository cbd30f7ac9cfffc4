import { beforeAll, describe, expect, test } from 'vitest';
import { InvalidPayloadError } from '../../../../src/model/errors.js';
import { JOB_STATES, type JobData, type NewJobData } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction } from '../../../support/held.js';
import { jobIn, newQueue } from '../../../support/rows.js';

const at = (ms: number) => new Date(1_700_000_000_000 + ms);

/** Every field with something in it. */
const full: NewJobData = jobIn('active', {
  name: 'ünï 🎉 "quoted" \\ name',
  data: { deep: [{ a: null, b: false, c: 0, d: '', e: [], f: {} }], text: '10.5', emoji: '🎉', quote: `'"\\` },
  attemptsMade: 2,
  progress: 33.25,
  returnvalue: 'text',
  failedReason: 'it was late',
  opts: { attempts: 5, backoff: { type: 'exponential', delay: 100 }, priority: -3, removeOnFail: 1_000 },
  deduplicationKey: 'key of full',
  logs: ['one', 'two "2"'],
  stacktrace: ['Error: a\n  at b'],
  createdAt: at(1),
  processedAt: at(22),
  completedAt: at(333),
  failedAt: at(444),
  delayUntil: at(555),
  lockUntil: at(666),
  cancelledAt: at(777),
  lockedBy: 'worker-1',
  parentId: 'parent',
  parentQueueName: 'its queue',
  pendingChildrenCount: 4,
  groupId: 'group',
  discarded: true,
  childrenIds: ['c1', 'c2'],
  attemptLogs: [
    {
      attempt: 1,
      startedAt: at(0).toISOString(),
      endedAt: null,
      status: 'failed',
      error: 'e',
      stacktrace: null,
      logs: ['l'],
    },
  ],
});

/** spec/store.md, Jobs; `updateJob` has a suite of its own. */
export function describeJobs(makeFactory: MakeFactory): void {
  describe('jobs', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    describe('saveJob and getJob', () => {
      test('every field comes back as it went in', async () => {
        const q = newQueue();
        expect(await store.saveJob(q, { ...full, id: 'full' })).toBe('full');
        expect(await store.getJob(q, 'full')).toEqual({ ...full, id: 'full', queueName: q });
      });

      test.each(JOB_STATES)('a %s job is stored as given', async (state) => {
        const q = newQueue();
        const job = jobIn(state, { id: 'x', createdAt: at(5) });
        await store.saveJob(q, job);
        expect(await store.getJob(q, 'x')).toEqual({ ...job, queueName: q });
      });

      test('without an id it gets one, in the order of insertion', async () => {
        const q = newQueue();
        const ids: string[] = [];
        for (let i = 0; i < 5; i++) ids.push(await store.saveJob(q, jobIn('waiting')));
        expect(new Set(ids).size).toBe(5);
        expect([...ids].sort()).toEqual(ids);
        expect(await store.getJob(q, ids[0] as string)).toMatchObject({ id: ids[0] });
      });

      test('times are exact to the millisecond', async () => {
        const q = newQueue();
        for (const ms of [0, 1, 999, 1_700_000_000_001, 1_899_999_999_999, 4_102_444_800_123]) {
          const time = new Date(ms);
          const id = await store.saveJob(q, jobIn('delayed', { createdAt: time, delayUntil: time }));
          expect(await store.getJob(q, id)).toMatchObject({ createdAt: time, delayUntil: time });
        }
      });

      test('an id that exists is left unchanged, and comes back', async () => {
        const [q, other] = [newQueue(), newQueue()];
        await store.saveJob(q, jobIn('completed', { id: 'same', data: 'first' }));
        expect(await store.saveJob(q, jobIn('waiting', { id: 'same', data: 'second' }))).toBe('same');
        expect(await store.getJob(q, 'same')).toMatchObject({ data: 'first', state: 'completed' });
        expect(await store.saveJob(other, jobIn('waiting', { id: 'same', data: 'other' }))).toBe('same');
        expect(await store.getJob(other, 'same')).toMatchObject({ data: 'other' });
        expect(await store.countJobs(q, 'waiting')).toBe(0);
      });

      test('the same id from many at once is one job', async () => {
        const q = newQueue();
        const second = await factory.open();
        const jobs = Array.from({ length: 10 }, (_, i) => jobIn('waiting', { id: 'one', data: i }));
        const ids = await Promise.all(jobs.map((job, i) => (i % 2 ? store : second).saveJob(q, job)));
        expect(new Set(ids)).toEqual(new Set(['one']));
        expect(await store.countJobs(q, 'waiting')).toBe(1);
      });

      test('a missing job is null', async () => {
        expect(await store.getJob(newQueue(), 'nobody')).toBeNull();
        expect(await store.findJobById('nobody at all')).toBeNull();
      });

      test('what cannot be stored is refused by its path, and nothing is', async () => {
        const q = newQueue();
        const refused: [unknown, RegExp][] = [
          [{ a: { b: 'nul\0' } }, /data\.a\.b/],
          [{ list: ['\ud800'] }, /data\.list/],
          [{ n: 1n }, /data\.n/],
          [{ f: () => {} }, /data\.f/],
          [{ x: Number.NaN }, /data\.x/],
        ];
        for (const [data, path] of refused) {
          const saved = store.saveJob(q, jobIn('waiting', { data }));
          await expect(saved).rejects.toThrow(path);
          await expect(saved).rejects.toBeInstanceOf(InvalidPayloadError);
        }
        await expect(store.saveJob(q, jobIn('waiting', { name: '' }))).rejects.toThrow(RangeError);
        await expect(store.saveJob(q, jobIn('waiting', { id: 'x'.repeat(256) }))).rejects.toThrow(RangeError);
        expect(await store.countJobs(q, 'waiting')).toBe(0);
      });
    });

    describe('saveBulk', () => {
      test('ids in input order; nothing for nothing', async () => {
        const q = newQueue();
        expect(await store.saveBulk(q, [])).toEqual([]);
        const jobs = ['b', undefined, 'a', 'c'].map((id) => jobIn('waiting', id === undefined ? {} : { id }));
        const ids = await store.saveBulk(q, jobs);
        expect([ids[0], ids[2], ids[3]]).toEqual(['b', 'a', 'c']);
        const order: (string | undefined)[] = [];
        for (const _ of ids) order.push((await store.fetchNextJob(q, 'w', 1_000))?.id);
        expect(order).toEqual(ids);
      });

      test('the same id twice in a batch is one job, the first', async () => {
        const q = newQueue();
        const jobs = ['x', 'x', 'y'].map((id, i) => jobIn('waiting', { id, data: i }));
        expect(await store.saveBulk(q, jobs)).toEqual(['x', 'x', 'y']);
        expect(await store.getJob(q, 'x')).toMatchObject({ data: 0 });
      });

      test('all or nothing', async () => {
        const q = newQueue();
        const jobs = [jobIn('waiting', { id: 'good' }), jobIn('waiting', { id: 'bad', data: '\0' })];
        await expect(store.saveBulk(q, jobs)).rejects.toBeInstanceOf(InvalidPayloadError);
        const late = [jobIn('waiting', { id: 'good' }), jobIn('waiting', { id: 'bad', progress: 101 })];
        await expect(store.saveBulk(q, late)).rejects.toThrow();
        expect(await store.getJob(q, 'good')).toBeNull();
      });

      test('many', async () => {
        const q = newQueue();
        const ids = await store.saveBulk(
          q,
          Array.from({ length: 5_000 }, (_, i) => jobIn('waiting', { data: { i } })),
        );
        expect(new Set(ids).size).toBe(5_000);
        expect(await store.getJob(q, ids[4_321] as string)).toMatchObject({ data: { i: 4_321 } });
      });

      test('batches of the same ids in opposite order do not block each other', async () => {
        const q = newQueue();
        const second = await factory.open();
        const jobs = Array.from({ length: 200 }, (_, i) => jobIn('waiting', { id: `${i}` }));
        const [a, b] = await Promise.all([store.saveBulk(q, jobs), second.saveBulk(q, [...jobs].reverse())]);
        expect(a).toEqual([...b].reverse());
        expect(await store.countJobs(q, 'waiting')).toBe(200);
      });
    });

    describe('removeJob', () => {
      test.each(JOB_STATES)('a %s job', async (state) => {
        const q = newQueue();
        await store.saveBulk(q, [jobIn(state, { id: 'gone' }), jobIn(state, { id: 'stays' })]);
        await store.removeJob(q, 'gone');
        expect(await store.getJob(q, 'gone')).toBeNull();
        expect(await store.getJob(q, 'stays')).not.toBeNull();
      });

      test('a missing one is silent', async () => {
        await store.removeJob(newQueue(), 'nobody');
        const q = newQueue();
        await store.saveJob(q, jobIn('waiting', { id: 'x' }));
        await Promise.all([store.removeJob(q, 'x'), store.removeJob(q, 'x')]);
        await store.removeJob(q, 'x');
      });

      test('the id can be used again', async () => {
        const q = newQueue();
        await store.saveJob(q, jobIn('waiting', { id: 'x', data: 1 }));
        await store.removeJob(q, 'x');
        await store.saveJob(q, jobIn('waiting', { id: 'x', data: 2 }));
        expect(await store.getJob(q, 'x')).toMatchObject({ data: 2 });
      });
    });

    describe('findJobById', () => {
      test('in any queue', async () => {
        const [a, b] = [newQueue(), newQueue()];
        await store.saveJob(a, jobIn('failed', { id: `only in ${a}` }));
        await store.saveJob(b, jobIn('waiting', { id: `only in ${b}` }));
        expect(await store.findJobById(`only in ${a}`)).toMatchObject({ queueName: a, state: 'failed' });
        expect(await store.findJobById(`only in ${b}`)).toMatchObject({ queueName: b, state: 'waiting' });
      });
    });

    test.runIf(factory.database)('reading waits for nobody, and sees what is committed', async () => {
      const { sql } = factory.database!;
      const q = newQueue();
      await store.saveJob(q, jobIn('waiting', { id: 'held', deduplicationKey: 'k' }));
      const held = await openTransaction(sql);
      await held.sql`update conveyor_jobs set progress = 50 where queue_name = ${q}`;
      const found: (JobData | null)[] = [
        await store.getJob(q, 'held'),
        await store.findJobById('held'),
        await store.findByDeduplicationKey(q, 'k'),
      ];
      expect(found.map((job) => job?.progress)).toEqual([0, 0, 0]);
      await held.commit();
      expect((await store.getJob(q, 'held'))?.progress).toBe(50);
    });
  });
}
