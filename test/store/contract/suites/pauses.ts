import { beforeAll, describe, expect, test } from 'vitest';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { jobIn, newQueue } from '../../../support/rows.js';

/** spec/store.md: `pauseJobName`, `resumeJobName`, `getPausedJobNames`. What they do to claims is with the claims. */
export function describePauses(makeFactory: MakeFactory): void {
  describe('paused names', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
    });
    const paused = async (q: string) => (await store.getPausedJobNames(q)).sort();

    test('are a set per queue, of which __all__ is a member like any other', async () => {
      const [q, other] = [newQueue(), newQueue()];
      expect(await paused(q)).toEqual([]);
      await store.pauseJobName(q, 'b');
      await store.pauseJobName(q, '__all__');
      await store.pauseJobName(q, 'b');
      await store.pauseJobName(other, 'c');
      expect(await paused(q)).toEqual(['__all__', 'b']);
      await store.resumeJobName(q, '__all__');
      expect(await paused(q)).toEqual(['b']);
      await store.resumeJobName(q, 'b');
      await store.resumeJobName(q, 'never paused');
      expect(await paused(q)).toEqual([]);
      expect(await paused(other)).toEqual(['c']);
    });

    test('hold jobs of the name back until it is resumed', async () => {
      const q = newQueue();
      await store.saveBulk(q, [jobIn('waiting', { id: 'x1', name: 'x' }), jobIn('waiting', { id: 'y1', name: 'y' })]);
      await store.pauseJobName(q, 'x');
      expect(await store.fetchNextJob(q, 'w', 1_000)).toMatchObject({ id: 'y1' });
      expect(await store.fetchNextJob(q, 'w', 1_000)).toBeNull();
      await store.resumeJobName(q, 'x');
      await store.pauseJobName(q, '__all__');
      expect(await store.fetchNextJob(q, 'w', 1_000)).toBeNull();
      await store.resumeJobName(q, '__all__');
      expect(await store.fetchNextJob(q, 'w', 1_000)).toMatchObject({ id: 'x1' });
    });

    test('any name that a job can have; nonsense is refused', async () => {
      const q = newQueue();
      const names = ["it's; --", 'ünï 🎉', '%', 'a'.repeat(255)];
      for (const name of names) await store.pauseJobName(q, name);
      expect(await paused(q)).toEqual([...names].sort());
      await expect(store.pauseJobName(q, '')).rejects.toThrow(RangeError);
      await expect(store.pauseJobName(q, 'a'.repeat(256))).rejects.toThrow(RangeError);
      await expect(store.pauseJobName('', 'a')).rejects.toThrow(RangeError);
    });

    test('paused and resumed by many at once', async () => {
      const q = newQueue();
      const second = await factory.open();
      const stores = [store, second, store, second];
      await Promise.all(stores.map((each) => each.pauseJobName(q, 'x')));
      expect(await paused(q)).toEqual(['x']);
      await Promise.all(stores.map((each) => each.resumeJobName(q, 'x')));
      expect(await paused(q)).toEqual([]);
    });
  });
}
