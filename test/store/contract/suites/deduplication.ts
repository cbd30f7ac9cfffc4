import { beforeAll, describe, expect, test } from 'vitest';
import { JOB_STATES, type NewJobData } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { openTransaction, untilWaiting } from '../../../support/held.js';
import { insertRow, jobIn, newQueue } from '../../../support/rows.js';

const keyed = (fields: Partial<NewJobData> = {}) => jobIn('waiting', { deduplicationKey: 'key', ...fields });
const ago = (ms: number) => new Date(Date.now() - ms);

/** spec/store.md: deduplication in `saveJob` and `saveBulk`, and `findByDeduplicationKey`. */
export function describeDeduplication(makeFactory: MakeFactory): void {
  describe('deduplication', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });

    test('a live holder of the key comes back, and nothing is inserted', async () => {
      const q = newQueue();
      expect(await store.saveJob(q, keyed({ id: 'first', data: 1 }))).toBe('first');
      expect(await store.saveJob(q, keyed({ id: 'second', data: 2 }))).toBe('first');
      expect(await store.saveJob(q, keyed({ data: 3 }))).toBe('first');
      expect(await store.getJob(q, 'first')).toMatchObject({ data: 1 });
      expect(await store.getJob(q, 'second')).toBeNull();
      expect(await store.countJobs(q, 'waiting')).toBe(1);
    });

    test('keys are per queue, and jobs without one are free', async () => {
      const [q, other] = [newQueue(), newQueue()];
      await store.saveJob(q, keyed({ id: 'here' }));
      expect(await store.saveJob(other, keyed({ id: 'there' }))).toBe('there');
      expect(await store.saveJob(q, keyed({ id: 'more', deduplicationKey: 'other key' }))).toBe('more');
      await store.saveBulk(q, [jobIn('waiting'), jobIn('waiting')]);
      expect(await store.countJobs(q, 'waiting')).toBe(4);
    });

    test.each(JOB_STATES)('a %s job', async (state) => {
      const q = newQueue();
      const live = state !== 'completed' && state !== 'failed';
      await store.saveJob(q, jobIn(state, { id: 'old', deduplicationKey: 'key' }));
      expect((await store.findByDeduplicationKey(q, 'key'))?.id).toBe(live ? 'old' : undefined);
      expect(await store.saveJob(q, keyed({ id: 'new' }))).toBe(live ? 'old' : 'new');
      expect(await store.findByDeduplicationKey(q, 'key')).toMatchObject({ id: live ? 'old' : 'new' });
    });

    test('the key is free again when its holder has ended or is gone', async () => {
      const q = newQueue();
      await store.saveJob(q, keyed({ id: '1' }));
      await store.updateJob(q, '1', { state: 'completed', completedAt: new Date() });
      expect(await store.saveJob(q, keyed({ id: '2' }))).toBe('2');
      await store.removeJob(q, '2');
      expect(await store.saveJob(q, keyed({ id: '3' }))).toBe('3');
    });

    describe('time to live', () => {
      const withTtl = (ttl: number, fields: Partial<NewJobData>) =>
        keyed({ opts: { deduplication: { key: 'key', ttl } }, ...fields });

      test('an expired holder gives the key up and lives on', async () => {
        const q = newQueue();
        await store.saveJob(q, withTtl(1_000, { id: 'old', createdAt: ago(2_000) }));
        expect(await store.findByDeduplicationKey(q, 'key')).toBeNull();
        expect(await store.saveJob(q, keyed({ id: 'new' }))).toBe('new');
        expect(await store.getJob(q, 'old')).toMatchObject({ state: 'waiting', deduplicationKey: null });
        expect(await store.findByDeduplicationKey(q, 'key')).toMatchObject({ id: 'new' });
      });

      test("it is the stored job's that counts, not the new one's", async () => {
        const q = newQueue();
        await store.saveJob(q, withTtl(60_000, { id: 'old', createdAt: ago(2_000) }));
        expect(await store.saveJob(q, withTtl(1_000, { id: 'new' }))).toBe('old');
        const unlimited = newQueue();
        await store.saveJob(unlimited, keyed({ id: 'old', createdAt: ago(1e10) }));
        expect(await store.saveJob(unlimited, withTtl(1, { id: 'new' }))).toBe('old');
      });

      test('expired holders of many keys in one batch', async () => {
        const q = newQueue();
        const keys = Array.from({ length: 30 }, (_, i) => `key-${i}`);
        const old = (deduplicationKey: string) => withTtl(1, { deduplicationKey, createdAt: ago(60_000) });
        await store.saveBulk(q, keys.map(old));
        const ids = await store.saveBulk(
          q,
          [...keys].reverse().map((key) => keyed({ deduplicationKey: key })),
        );
        expect(new Set(ids).size).toBe(30);
        for (const [i, key] of [...keys].reverse().entries()) {
          expect(await store.findByDeduplicationKey(q, key)).toMatchObject({ id: ids[i] });
        }
      });

      test('nonsense in the options never expires', async () => {
        const q = newQueue();
        const opts = { deduplication: { key: 'key', ttl: 'soon' as never } };
        await store.saveJob(q, keyed({ id: 'old', createdAt: ago(1e10), opts })).catch(() => {});
        if ((await store.getJob(q, 'old')) === null) return;
        expect(await store.saveJob(q, keyed({ id: 'new' }))).toBe('old');
      });
    });

    describe('saveBulk', () => {
      test('per job, also inside the batch', async () => {
        const q = newQueue();
        await store.saveJob(q, keyed({ id: 'there', deduplicationKey: 'b' }));
        const ids = await store.saveBulk(q, [
          keyed({ id: 'a1', deduplicationKey: 'a' }),
          jobIn('waiting', { id: 'free' }),
          keyed({ id: 'a2', deduplicationKey: 'a' }),
          keyed({ id: 'b1', deduplicationKey: 'b' }),
          keyed({ id: 'c1', deduplicationKey: 'c' }),
        ]);
        expect(ids).toEqual(['a1', 'free', 'a1', 'there', 'c1']);
        expect(await store.countJobs(q, 'waiting')).toBe(4);
      });

      test('an ended job in a batch holds no key', async () => {
        const q = newQueue();
        const ids = await store.saveBulk(q, [
          jobIn('completed', { id: 'done', deduplicationKey: 'key' }),
          keyed({ id: 'live' }),
          keyed({ id: 'late' }),
        ]);
        expect(ids).toEqual(['done', 'live', 'live']);
        expect(await store.getJob(q, 'late')).toBeNull();
      });
    });

    describe('races', () => {
      test.runIf(factory.database)('a holder that is not committed yet is waited for', async () => {
        const { sql } = factory.database!;
        for (const end of ['commit', 'rollback'] as const) {
          const q = newQueue();
          const other = await openTransaction(sql);
          await insertRow(other.sql, { queue_name: q, id: 'theirs', deduplication_key: 'key' });
          const saved = store.saveJob(q, keyed({ id: 'ours' }));
          await untilWaiting(sql);
          await other[end]();
          expect(await saved).toBe(end === 'commit' ? 'theirs' : 'ours');
          expect(await store.countJobs(q, 'waiting')).toBe(1);
        }
      });

      test('many at once: one job per key, and everybody gets its id', async () => {
        const q = newQueue();
        const stores = [store, await factory.open(), await factory.open()];
        const keys = Array.from({ length: 50 }, (_, i) => `key-${i}`);
        const shuffled = (seed: number) => keys.map((_, i) => keys[(i * 7 + seed * 13) % keys.length] as string);
        const answers = await Promise.all(
          stores.flatMap((each, s) =>
            [0, 1].map(async (n) => {
              const order = shuffled(s * 2 + n);
              const ids = await each.saveBulk(
                q,
                order.map((deduplicationKey) => keyed({ deduplicationKey })),
              );
              return new Map(order.map((key, i) => [key, ids[i]]));
            }),
          ),
        );
        for (const key of keys) {
          const ids = new Set(answers.map((answer) => answer.get(key)));
          expect(ids.size, key).toBe(1);
          expect((await store.findByDeduplicationKey(q, key))?.id).toBe([...ids][0]);
        }
        expect(await store.countJobs(q, 'waiting')).toBe(50);
      });

      test('while holders end, at most one job per key is live at any moment', async () => {
        const q = newQueue();
        const stores = [store, await factory.open()];
        const keys = Array.from({ length: 10 }, (_, i) => `key-${i}`);
        let busy = true;
        const add = async (each: ContractStore) => {
          for (let i = 0; i < 60; i++) {
            const id = await each.saveJob(q, keyed({ deduplicationKey: keys[i % keys.length] as string }));
            expect(await each.getJob(q, id)).not.toBeNull();
          }
        };
        const end = async (each: ContractStore) => {
          while (busy) {
            const job = await each.fetchNextJob(q, 'w', 60_000);
            if (job) await each.updateJob(q, job.id, { state: 'completed', completedAt: new Date() });
          }
        };
        const watch = async () => {
          while (busy) {
            const { jobs } = await store.searchJobs({ queueName: q, states: ['waiting', 'active'] }, 0, 1_000);
            const live = jobs.map((job) => job.deduplicationKey);
            expect(new Set(live).size).toBe(live.length);
          }
        };
        const others = [end(store), end(stores[1] as ContractStore), watch()];
        await Promise.all(stores.flatMap((each) => [add(each), add(each)]));
        busy = false;
        await Promise.all(others);
      });
    });
  });
}
