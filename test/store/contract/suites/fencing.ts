import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LeaseLostError } from '../../../../src/model/errors.js';
import type { JobData } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { lockRow, untilWaiting } from '../../../support/held.js';
import { jobIn } from '../../../support/rows.js';

/**
 * Fencing under the original core, which writes by id only: two stores share the data, and a job that one of them
 * claimed is stolen by the other.
 */
export function describeFencing(makeFactory: MakeFactory): void {
  const factory = makeFactory();
  let mine: ContractStore;
  let theirs: ContractStore;
  let stranger: ContractStore;
  beforeAll(async () => {
    [mine, theirs, stranger] = await Promise.all([factory.open(), factory.open(), factory.open()]);
  });
  beforeEach(() => Promise.all([mine.truncateAll(), theirs.truncateAll()]));

  const Q = 'q';
  const read = async () => (await mine.getJob(Q, 'a')) as JobData;
  const claim = async (store: ContractStore, ms = 60_000) => {
    const job = await store.fetchNextJob(Q, store === mine ? 'mine' : 'theirs', ms);
    expect(job?.id).toBe('a');
  };
  const claimedByMe = async (ms?: number) => {
    await mine.saveJob(Q, jobIn('waiting', { id: 'a' }));
    await claim(mine, ms);
  };
  /** By a store that knows nothing of the job. */
  const expire = () => stranger.updateJob(Q, 'a', { lockUntil: new Date(Date.now() - 60_000) });
  /** What a sweeper of that core does. */
  async function sweep(store: ContractStore): Promise<string[]> {
    const stalled = await store.getStalledJobs(Q, 1000);
    for (const { id } of stalled) await store.updateJob(Q, id, { state: 'waiting', lockUntil: null, lockedBy: null });
    return stalled.map(({ id }) => id);
  }
  const stolen = async () => {
    await claimedByMe();
    await expire();
    expect(await sweep(theirs)).toEqual(['a']);
    await claim(theirs);
  };
  const lost = (work: Promise<unknown>) => expect(work).rejects.toThrow(LeaseLostError);

  describe('the holder', () => {
    test('does everything to its job', async () => {
      await claimedByMe();
      await mine.updateJob(Q, 'a', { progress: 10 });
      await mine.updateJob(Q, 'a', { logs: ['x'] }, { expectedState: 'active' });
      expect(await mine.extendLock(Q, 'a', 120_000)).toBe(true);
      expect(Number((await read()).lockUntil) - Date.now()).toBeGreaterThan(90_000);
      await mine.updateJob(Q, 'a', { state: 'completed', returnvalue: 1 }, { expectedState: 'active' });
      await mine.releaseLock(Q, 'a');
      expect(await read()).toMatchObject({ state: 'completed', returnvalue: 1, lockUntil: null, lockedBy: null });
      await mine.removeJob(Q, 'a');
      expect(await mine.getJob(Q, 'a')).toBeNull();
    });

    test('holds it past its time as long as nobody took it', async () => {
      await claimedByMe();
      await expire();
      expect(await mine.extendLock(Q, 'a', 1000)).toBe(true);
      await expire();
      await mine.updateJob(Q, 'a', { state: 'completed' });
      expect((await read()).state).toBe('completed');
    });

    test('releases the lock, and the state stays', async () => {
      await claimedByMe();
      await mine.releaseLock(Q, 'a');
      expect(await read()).toMatchObject({ state: 'active', lockUntil: null, lockedBy: null });
      expect((await theirs.getStalledJobs(Q, 0)).map(({ id }) => id)).toEqual(['a']);
    });

    test('removes it while it is active', async () => {
      await claimedByMe();
      await mine.removeJob(Q, 'a');
      await mine.removeJob(Q, 'a');
      await mine.updateJob(Q, 'a', { progress: 1 });
      expect(await mine.getJob(Q, 'a')).toBeNull();
    });
  });

  describe('who lost it', () => {
    test('writes nothing', async () => {
      await stolen();
      const before = await read();
      await lost(mine.updateJob(Q, 'a', { state: 'completed', returnvalue: 'stale' }));
      await lost(mine.updateJob(Q, 'a', { state: 'failed', failedReason: 'stale' }, { expectedState: 'active' }));
      await lost(mine.updateJob(Q, 'a', { state: 'waiting' }));
      await lost(mine.updateJob(Q, 'a', { progress: 99 }));
      expect(await mine.extendLock(Q, 'a', 1000)).toBe(false);
      await lost(mine.releaseLock(Q, 'a'));
      await lost(mine.removeJob(Q, 'a'));
      expect(await read()).toEqual(before);
      // It stays lost, whatever becomes of the job elsewhere.
      await theirs.updateJob(Q, 'a', { state: 'completed', returnvalue: 'theirs' });
      await lost(mine.updateJob(Q, 'a', { state: 'failed' }));
      await expect(mine.updateJob(Q, 'a', { state: 'failed' }, { expectedState: 'active' })).rejects.toMatchObject({
        currentState: 'completed',
      });
      expect(await read()).toMatchObject({ state: 'completed', returnvalue: 'theirs' });
    });

    test('hears of it when the job was removed or made waiting elsewhere', async () => {
      await claimedByMe();
      await theirs.updateJob(Q, 'a', { state: 'waiting' });
      await lost(mine.updateJob(Q, 'a', { state: 'completed' }));
      expect(await mine.extendLock(Q, 'a', 1000)).toBe(false);
      expect((await read()).state).toBe('waiting');
      await claim(theirs);
      await theirs.removeJob(Q, 'a');
      await lost(mine.updateJob(Q, 'a', { state: 'completed' }));
      await mine.removeJob(Q, 'a');
    });

    test('loses it while its write waits', async () => {
      const sql = factory.database?.sql;
      if (!sql) return;
      await claimedByMe();
      const lock = await lockRow(sql, Q, 'a');
      const write = mine.updateJob(Q, 'a', { state: 'completed' });
      const extend = mine.extendLock(Q, 'a', 1000);
      write.catch(() => {});
      await untilWaiting(sql, 2);
      await lock.sql`update conveyor_jobs set lease = lease + 1, locked_by = 'theirs'`;
      await lock.commit();
      await lost(write);
      expect(await extend).toBe(false);
      expect((await read()).state).toBe('active');
    });

    test('holds it again after a new claim', async () => {
      await stolen();
      await theirs.updateJob(Q, 'a', { state: 'waiting' });
      await claim(mine);
      await mine.updateJob(Q, 'a', { state: 'completed' });
      expect((await read()).state).toBe('completed');
    });

    test('a late release does not take the lock of the next holder', async () => {
      await claimedByMe();
      await mine.updateJob(Q, 'a', { state: 'waiting', attemptsMade: 1 });
      await claim(theirs);
      await mine.releaseLock(Q, 'a');
      expect(await read()).toMatchObject({ state: 'active', lockedBy: 'theirs' });
      expect((await read()).lockUntil).not.toBeNull();
    });
  });

  describe('who does not claim to hold it', () => {
    test('changes a job it never claimed', async () => {
      await mine.saveJob(Q, jobIn('waiting', { id: 'a' }));
      await claim(theirs);
      await mine.updateJob(Q, 'a', { progress: 5 });
      expect(await mine.extendLock(Q, 'a', 1000)).toBe(true);
      await mine.releaseLock(Q, 'a');
      expect(await read()).toMatchObject({ progress: 5, state: 'active', lockUntil: null });
      await mine.removeJob(Q, 'a');
      expect(await mine.getJob(Q, 'a')).toBeNull();
      expect(await mine.extendLock(Q, 'a', 1000)).toBe(false);
      await mine.releaseLock(Q, 'a');
    });

    test('an extended lock of a job that is not active: false', async () => {
      await mine.saveJob(Q, jobIn('waiting', { id: 'a' }));
      expect(await mine.extendLock(Q, 'a', 1000)).toBe(false);
    });

    test('a job that ended here is anybody’s', async () => {
      await claimedByMe();
      await mine.updateJob(Q, 'a', { state: 'failed' });
      await mine.updateJob(Q, 'a', { state: 'waiting' });
      await claim(theirs);
      await mine.updateJob(Q, 'a', { progress: 5 });
      expect((await read()).progress).toBe(5);
    });

    test('who expects the state that a lost job is in now may change it: that is no worker', async () => {
      await stolen();
      await theirs.updateJob(Q, 'a', { state: 'failed' });
      await mine.updateJob(Q, 'a', { state: 'waiting' }, { expectedState: 'failed' });
      expect((await read()).state).toBe('waiting');
    });
  });

  describe('after getStalledJobs', () => {
    test('a job that still is stalled goes back, and its old holder is out', async () => {
      await claimedByMe();
      await expire();
      expect(await sweep(theirs)).toEqual(['a']);
      expect((await read()).state).toBe('waiting');
      await lost(mine.updateJob(Q, 'a', { state: 'completed' }));
    });

    test('one without a lock is stalled', async () => {
      await claimedByMe();
      await mine.releaseLock(Q, 'a');
      expect(await sweep(theirs)).toEqual(['a']);
      expect((await read()).state).toBe('waiting');
    });

    test.each([
      ['renewed', () => mine.extendLock(Q, 'a', 60_000), 'active'],
      ['completed', () => mine.updateJob(Q, 'a', { state: 'completed' }), 'completed'],
      ['removed', () => mine.removeJob(Q, 'a'), undefined],
    ])('one that was %s meanwhile stays as it is, without an error', async (_how, meanwhile, state) => {
      await claimedByMe();
      await expire();
      await theirs.getStalledJobs(Q, 0);
      await meanwhile();
      await theirs.updateJob(Q, 'a', { state: 'waiting', lockUntil: null });
      expect((await mine.getJob(Q, 'a'))?.state).toBe(state);
    });

    test('of two sweepers one returns it, also when it has been claimed again', async () => {
      await claimedByMe();
      await expire();
      const third = await factory.open();
      await Promise.all([theirs.getStalledJobs(Q, 0), third.getStalledJobs(Q, 0)]);
      await theirs.updateJob(Q, 'a', { state: 'waiting', lockUntil: null });
      await claim(mine);
      await third.updateJob(Q, 'a', { state: 'waiting', lockUntil: null });
      expect(await read()).toMatchObject({ state: 'active', lockedBy: 'mine' });
      await mine.updateJob(Q, 'a', { state: 'completed' });
    });

    test('a job that is stalled once more, under another lease, is not the one that was listed', async () => {
      await claimedByMe();
      await expire();
      await theirs.getStalledJobs(Q, 0);
      await mine.updateJob(Q, 'a', { state: 'waiting' });
      await claim(mine);
      await expire();
      await theirs.updateJob(Q, 'a', { state: 'waiting', lockUntil: null });
      expect((await read()).state).toBe('active');
      expect(await sweep(theirs)).toEqual(['a']);
      expect((await read()).state).toBe('waiting');
    });

    test('the own job of the store that sweeps: its worker may still end it, and the sweeper does not undo that', async () => {
      await claimedByMe();
      await expire();
      await mine.getStalledJobs(Q, 0);
      await mine.updateJob(Q, 'a', { state: 'completed', returnvalue: 1 });
      await mine.updateJob(Q, 'a', { state: 'waiting', lockUntil: null });
      expect(await read()).toMatchObject({ state: 'completed', returnvalue: 1 });
    });

    test('the own job of the store that sweeps: renewed, its worker goes on', async () => {
      await claimedByMe();
      await expire();
      await mine.getStalledJobs(Q, 0);
      expect(await mine.extendLock(Q, 'a', 60_000)).toBe(true);
      await mine.updateJob(Q, 'a', { state: 'waiting', lockUntil: null });
      expect((await read()).state).toBe('active');
      await mine.updateJob(Q, 'a', { progress: 50 });
      await mine.updateJob(Q, 'a', { state: 'completed' });
      expect(await read()).toMatchObject({ state: 'completed', progress: 50 });
    });

    test('the own job of the store that sweeps: once it went back, its slow worker is out', async () => {
      await claimedByMe();
      await expire();
      expect(await sweep(mine)).toEqual(['a']);
      await lost(mine.updateJob(Q, 'a', { state: 'completed' }));
      await claim(theirs);
      await lost(mine.updateJob(Q, 'a', { state: 'failed' }));
      expect(await read()).toMatchObject({ state: 'active', lockedBy: 'theirs' });
    });

    test('20 sweepers and as many workers over 50 jobs: no job goes back while it is held', async () => {
      const ids = Array.from({ length: 50 }, (_, i) => `j${i}`);
      await mine.saveBulk(
        Q,
        ids.map((id) => jobIn('waiting', { id })),
      );
      const stores = await Promise.all(Array.from({ length: 4 }, () => factory.open()));
      const running = new Map<string, number>();
      let finished = 0;
      let overlaps = 0;
      const work = async (store: ContractStore, i: number) => {
        while (finished < ids.length) {
          // Locks of 1 ms: nearly every job is stalled while it runs.
          const job = await store.fetchNextJob(Q, `w${i}`, i % 2 ? 1 : 60_000);
          if (!job) {
            await sweep(store).catch((error) => {
              if (!(error instanceof LeaseLostError)) throw error;
            });
            continue;
          }
          try {
            await store.updateJob(Q, job.id, { state: 'completed' });
            // Whoever completed it held it: nobody else may have.
            running.set(job.id, (running.get(job.id) ?? 0) + 1);
            if (running.get(job.id)! > 1) overlaps++;
            finished++;
          } catch (error) {
            if (!(error instanceof LeaseLostError)) throw error;
          }
        }
      };
      await Promise.all(stores.map((store, i) => work(store, i)));
      expect(overlaps).toBe(0);
      expect(await mine.countJobs(Q, 'completed')).toBe(50);
    });
  });
}
