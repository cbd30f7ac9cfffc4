import { beforeAll, describe, expect, test } from 'vitest';
import type { JobData } from '../../../../src/model/job.js';
import type { ContractStore, MakeFactory } from '../../../support/contract-stores.js';
import { jobIn, newQueue } from '../../../support/rows.js';

const ids = (jobs: JobData[]) => jobs.map(({ id }) => id);
const at = (second: number) => new Date(Date.UTC(2024, 0, 1, 0, 0, second));

/** spec/store.md, Queries: those that search. */
export function describeSearch(makeFactory: MakeFactory): void {
  describe('queries', () => {
    const factory = makeFactory();
    let store: ContractStore;
    beforeAll(async () => {
      store = await factory.open();
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
  });
}
