import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { InvalidJobStateError, InvalidPayloadError } from '../../../../src/model/errors.js';
import { JOB_STATES, type JobData, type JobState } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { jobIn } from '../../../support/rows.js';

/** spec/store.md: `updateJob`. */
export function describeUpdateJob(makeFactory: MakeFactory): void {
  const factory = makeFactory();
  let store: ContractStore;
  beforeAll(async () => {
    store = await factory.open();
  });
  beforeEach(() => store.truncateAll());

  const Q = 'q';
  const save = (id: string, fields: Partial<JobData> = {}) =>
    store.saveJob(Q, jobIn(fields.state ?? 'waiting', { id, ...fields }));
  const read = async (id = 'a') => (await store.getJob(Q, id)) as JobData;

  describe('merging', () => {
    const time = new Date('2024-02-29T12:34:56.789Z');
    const all: Partial<JobData> = {
      name: 'ä "name"',
      data: { deep: [null, '10.5', false, 0, '', { '?': '\\' }] },
      state: 'failed',
      attemptsMade: 3,
      progress: 12.5,
      returnvalue: '10.5',
      failedReason: 'why',
      opts: { priority: 7, attempts: 9, removeOnFail: true },
      deduplicationKey: 'key',
      logs: ['one', 'two'],
      stacktrace: ['at x'],
      createdAt: time,
      processedAt: time,
      completedAt: time,
      failedAt: time,
      delayUntil: time,
      lockUntil: time,
      cancelledAt: time,
      lockedBy: 'worker',
      parentId: 'p',
      parentQueueName: 'pq',
      pendingChildrenCount: 4,
      groupId: 'g',
      discarded: true,
      childrenIds: ['c1', 'c2'],
      attemptLogs: [
        { attempt: 1, startedAt: 'a', endedAt: null, status: 'failed', error: 'e', stacktrace: null, logs: ['x'] },
      ],
    };

    test('every field at once, and each of them alone', async () => {
      await save('a');
      await store.updateJob(Q, 'a', all);
      expect(await read()).toEqual({ ...(await read()), ...all });
      for (const [field, value] of Object.entries(all)) {
        await save(field);
        const before = await read(field);
        await store.updateJob(Q, field, { [field]: value });
        expect(await read(field)).toEqual({ ...before, [field]: value });
      }
    });

    test('null empties what may be null', async () => {
      await save('a');
      await store.updateJob(Q, 'a', all);
      const nothing = Object.fromEntries(
        ['returnvalue', 'failedReason', 'deduplicationKey', 'processedAt', 'completedAt', 'failedAt', 'delayUntil']
          .concat('lockUntil', 'cancelledAt', 'lockedBy', 'parentId', 'parentQueueName', 'groupId')
          .map((field) => [field, null]),
      );
      await store.updateJob(Q, 'a', nothing);
      expect(await read()).toEqual({ ...(await read()), ...all, ...nothing });
    });

    test('undefined is ignored, an empty update too, a missing job is silent', async () => {
      await save('a', { data: 1 });
      const before = await read();
      await store.updateJob(Q, 'a', { data: undefined, progress: undefined } as never);
      await store.updateJob(Q, 'a', {});
      expect(await read()).toEqual(before);
      await store.updateJob(Q, 'nobody', { progress: 1 });
      await store.updateJob(Q, 'nobody', { progress: 1 }, { expectedState: 'active' });
    });

    test('falsy values and null data are values', async () => {
      await save('a', { data: { n: 1 } });
      for (const data of [null, false, 0, '', [], {}]) {
        await store.updateJob(Q, 'a', { data, returnvalue: data });
        expect(await read()).toMatchObject({ data, returnvalue: data });
      }
    });

    test('id and queue may be repeated, not changed', async () => {
      await save('a');
      await store.updateJob(Q, 'a', { ...(await read()), progress: 5 });
      expect((await read()).progress).toBe(5);
      await expect(store.updateJob(Q, 'a', { id: 'b' })).rejects.toThrow(/updates\.id is "b"/);
      await expect(store.updateJob(Q, 'a', { queueName: 'b' })).rejects.toThrow(TypeError);
    });

    test('bad values are refused before any SQL', async () => {
      const bad: [object, RegExp][] = [
        [{ state: 'done' }, /job state is "done"/],
        [{ progress: 101 }, /updates\.progress is 101/],
        [{ progress: Number.NaN }, /updates\.progress is NaN/],
        [{ attemptsMade: -1 }, /updates\.attemptsMade/],
        [{ processedAt: new Date(Number.NaN) }, /updates\.processedAt is an invalid Date/],
        [{ createdAt: 'yesterday' }, /updates\.createdAt is "yesterday"/],
        [{ discarded: 'yes' }, /updates\.discarded/],
        [{ name: '' }, /updates\.name/],
        [{ groupId: 'x'.repeat(256) }, /updates\.groupId/],
        [{ opts: { priority: 1.5 } }, /updates\.opts\.priority/],
        [{ data: { at: 1n } }, /updates\.data\.at is a bigint/],
      ];
      const cold = factory.make();
      for (const [updates, message] of bad) {
        await expect(cold.updateJob(Q, 'a', updates as never), JSON.stringify(Object.keys(updates))).rejects.toThrow(
          message,
        );
      }
      await expect(cold.updateJob(Q, 'a', { data: '\0' })).rejects.toThrow(InvalidPayloadError);
    });

    test('what records the end of a job is made to fit', async () => {
      await save('a');
      await store.updateJob(Q, 'a', {
        state: 'completed',
        returnvalue: { big: 12n, text: 'a\0b\ud800', when: new Map([[1, 2]]) },
        failedReason: 'bad \0',
        stacktrace: ['\0'],
        logs: ['line \ud800'],
        attemptLogs: [{ attempt: 1n } as never],
      });
      expect(await read()).toMatchObject({
        state: 'completed',
        returnvalue: { big: '12', text: 'a\ufffdb\ufffd', when: [[1, 2]] },
        failedReason: 'bad \ufffd',
        stacktrace: ['\ufffd'],
        logs: ['line \ufffd'],
        attemptLogs: [{ attempt: '1' }],
      });
      await store.updateJob(Q, 'a', { failedReason: new Error('thrown') as never, stacktrace: 'at x' as never });
      expect(await read()).toMatchObject({ failedReason: 'thrown', stacktrace: ['at x'] });
      // Over the limit the result is lost, the success is not.
      await save('b');
      await store.updateJob(Q, 'b', { state: 'completed', returnvalue: 'x'.repeat(11 * 1024 * 1024) });
      expect(await read('b')).toMatchObject({ state: 'completed', returnvalue: null });
    });

    test('concurrent updates of different fields lose nothing', async () => {
      await save('a');
      const fields: Partial<JobData>[] = [
        { progress: 50 },
        { data: 2 },
        { logs: ['x'] },
        { groupId: 'g' },
        { name: 'n' },
      ];
      await Promise.all(fields.map((updates) => store.updateJob(Q, 'a', updates)));
      expect(await read()).toMatchObject(Object.assign({}, ...fields));
    });
  });

  describe('priority', () => {
    test('opts move the job to their priority, without one to 0', async () => {
      for (const id of ['a', 'b', 'c']) await save(id, { opts: { priority: 5 } });
      await store.updateJob(Q, 'c', { opts: { priority: 1 } });
      await store.updateJob(Q, 'b', { opts: {} });
      const order = [];
      for (let i = 0; i < 3; i++) order.push((await store.fetchNextJob(Q, 'w', 1000))?.id);
      expect(order).toEqual(['b', 'c', 'a']);
    });
  });

  describe('expectedState', () => {
    test('another state is an error that names both; nothing is changed', async () => {
      await save('a', { state: 'failed' });
      const update = store.updateJob(Q, 'a', { progress: 9 }, { expectedState: ['waiting', 'delayed'] });
      await expect(update).rejects.toThrow(InvalidJobStateError);
      await expect(update).rejects.toMatchObject({ currentState: 'failed', expectedStates: ['waiting', 'delayed'] });
      expect((await read()).progress).toBe(0);
      await store.updateJob(Q, 'a', { progress: 9 }, { expectedState: ['waiting', 'failed'] });
      await store.updateJob(Q, 'a', { progress: 10 }, { expectedState: 'failed' });
      expect((await read()).progress).toBe(10);
      await expect(store.updateJob(Q, 'a', {}, { expectedState: 'done' as JobState })).rejects.toThrow(RangeError);
    });

    test('16 at once: one of them finds the state', async () => {
      await save('a');
      const results = await Promise.allSettled(
        Array.from({ length: 16 }, (_, i) =>
          store.updateJob(Q, 'a', { state: 'delayed', data: i }, { expectedState: 'waiting' }),
        ),
      );
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ currentState: 'delayed' });
      }
    });
  });

  describe('states', () => {
    test.each(JOB_STATES)(
      'from %s back to waiting: fetched at once, nothing cleared, in its old place',
      async (state) => {
        const ended = { returnvalue: 1, failedReason: 'x', attemptsMade: 2, lockedBy: 'old' };
        await save('a', { state, ...ended, delayUntil: new Date(Date.now() + 60_000) });
        await save('b');
        await store.updateJob(Q, 'a', { state: 'waiting' });
        expect(await read()).toMatchObject({ state: 'waiting', ...ended });
        expect((await store.fetchNextJob(Q, 'w', 1000))?.id).toBe('a');
      },
    );
  });

  describe('deduplication', () => {
    test('a job that comes back gives its key up when somebody else holds it', async () => {
      await save('old', { state: 'failed', deduplicationKey: 'k' });
      await save('new', { deduplicationKey: 'k' });
      await store.updateJob(Q, 'old', { state: 'waiting' });
      expect(await read('old')).toMatchObject({ state: 'waiting', deduplicationKey: null });
      expect((await store.findByDeduplicationKey(Q, 'k'))?.id).toBe('new');
    });

    test('nobody else: it holds its key again', async () => {
      await save('old', { state: 'failed', deduplicationKey: 'k' });
      await store.updateJob(Q, 'old', { state: 'delayed' });
      expect((await store.findByDeduplicationKey(Q, 'k'))?.id).toBe('old');
      await store.updateJob(Q, 'old', { progress: 4 });
      expect((await store.findByDeduplicationKey(Q, 'k'))?.id).toBe('old');
    });

    test('many come back at once: one holds the key, all are back', async () => {
      const ids = Array.from({ length: 20 }, (_, i) => `j${i}`);
      for (const id of ids) await save(id, { state: 'failed', deduplicationKey: 'k' });
      const other = await factory.open();
      await Promise.all(ids.map((id, i) => (i % 2 ? store : other).updateJob(Q, id, { state: 'waiting' })));
      const jobs = await store.listJobs(Q, 'waiting');
      expect(jobs).toHaveLength(20);
      expect(jobs.filter(({ deduplicationKey }) => deduplicationKey !== null)).toHaveLength(1);
    });
  });
}
