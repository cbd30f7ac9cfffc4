import { beforeAll, describe, expect, test } from 'vitest';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { jobIn, newQueue } from '../../../support/rows.js';

/** spec/store.md, Life cycle, as far as any store has it. */
export function describeLifeCycle(makeFactory: MakeFactory): void {
  describe('life cycle', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    test('connect twice, also at once, is harmless', async () => {
      const own = factory.make();
      await Promise.all([own.connect(), own.connect()]);
      await own.connect();
      expect(await own.countJobs(newQueue(), 'waiting')).toBe(0);
    });

    test('disconnect before connect, and twice, is harmless; afterwards connect works again', async () => {
      const own = factory.make();
      await own.disconnect();
      await own.connect();
      const q = newQueue();
      await own.saveJob(q, jobIn('waiting', { id: 'kept' }));
      await Promise.all([own.disconnect(), own.disconnect()]);
      await own.disconnect();
      await expect(own.getJob(q, 'kept')).rejects.toThrow(/not connected/);
      await own.connect();
      expect(await own.getJob(q, 'kept')).toMatchObject({ id: 'kept' });
    });

    test('connect and disconnect at once leave it one or the other', async () => {
      for (let i = 0; i < 5; i++) {
        const own = factory.make();
        const connected = own.connect();
        await Promise.allSettled([connected, own.disconnect()]);
        await own.disconnect();
        await expect(own.countJobs('q', 'waiting')).rejects.toThrow(/not connected/);
      }
    });

    test('without a connection every method rejects, and none throws', async () => {
      const own = factory.make();
      const job = jobIn('waiting');
      const range = { granularity: 'minute', from: new Date(), to: new Date() } as const;
      const calls: (() => Promise<unknown>)[] = [
        () => own.saveJob('q', job),
        () => own.saveBulk('q', [job]),
        () => own.getJob('q', 'id'),
        () => own.updateJob('q', 'id', { progress: 1 }),
        () => own.removeJob('q', 'id'),
        () => own.findByDeduplicationKey('q', 'key'),
        () => own.findJobById('id'),
        () => own.fetchNextJob('q', 'worker', 1_000),
        () => own.extendLock('q', 'id', 1_000),
        () => own.releaseLock('q', 'id'),
        () => own.getActiveCount('q'),
        () => own.getGroupActiveCount('q', 'g'),
        () => own.getWaitingGroupCount('q', 'g'),
        () => own.getStalledJobs('q', 1_000),
        () => own.getNextDelayedTimestamp('q'),
        () => own.promoteDelayedJobs('q', 1),
        () => own.promoteJobs('q'),
        () => own.clean('q', 'failed', 0),
        () => own.drain('q'),
        () => own.obliterate('q'),
        () => own.retryJobs('q', 'failed'),
        () => own.pauseJobName('q', 'n'),
        () => own.resumeJobName('q', 'n'),
        () => own.getPausedJobNames('q'),
        () => own.listJobs('q', 'failed'),
        () => own.countJobs('q', 'failed'),
        () => own.getJobCounts('q'),
        () => own.listQueues(),
        () => own.searchByName('x'),
        () => own.searchByPayload('q', 'x'),
        () => own.searchJobs({}),
        () => own.listFlowParents(),
        () => own.cancelJob('q', 'id'),
        () => own.saveFlow([{ queueName: 'q', job }]),
        () => own.notifyChildCompleted('q', 'id'),
        () => own.failParentOnChildFailure('q', 'id', 'why'),
        () => own.getChildrenJobs('q', 'id'),
        () => own.getMetrics('q', range),
        () => own.aggregateMetrics(),
        () => own.truncateAll(),
      ];
      for (const call of calls) {
        let promise: Promise<unknown> | undefined;
        expect(() => {
          promise = call();
        }, String(call)).not.toThrow();
        await expect(promise, String(call)).rejects.toThrow(Error);
      }
    });

    test('a queue name that cannot be one is refused', async () => {
      for (const name of ['', 'a'.repeat(256), 'line\nend', 'nul\0', '\ud800']) {
        await expect(store.saveJob(name, jobIn('waiting')), JSON.stringify(name)).rejects.toThrow(RangeError);
        await expect(store.listJobs(name, 'waiting'), JSON.stringify(name)).rejects.toThrow(RangeError);
        await expect(store.drain(name), JSON.stringify(name)).rejects.toThrow(RangeError);
      }
      await expect(store.saveJob(undefined as never, jobIn('waiting'))).rejects.toThrow(TypeError);
      await store.saveJob('a'.repeat(255), jobIn('waiting'));
      await store.saveJob('🎉'.repeat(255), jobIn('waiting'));
    });

    test('truncateAll leaves nothing, and the store works on', async () => {
      const q = newQueue();
      await store.saveJob(q, jobIn('waiting', { id: 'x' }));
      await store.pauseJobName(q, 'name');
      await store.truncateAll();
      expect(await store.listQueues()).toEqual([]);
      expect(await store.getPausedJobNames(q)).toEqual([]);
      expect(await store.saveJob(q, jobIn('waiting', { id: 'x' }))).toBe('x');
    });

    test('ends with its block', async () => {
      let outer: ContractStore;
      {
        await using own = factory.make();
        await own.connect();
        outer = own;
        await own.countJobs('q', 'failed');
      }
      await expect(outer.countJobs('q', 'failed')).rejects.toThrow(/not connected/);
    });
  });
}
