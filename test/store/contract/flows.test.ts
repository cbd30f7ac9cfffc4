import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { encodeRecord } from '../../../src/store/add/insert.js';
import { saveFlow } from '../../../src/store/add/insert-flow.js';
import { openStore, pgStoreFactory } from '../../support/contract-stores.js';
import { useDatabase } from '../../support/database.js';
import { childOf, flowOf, jobIn } from '../../support/rows.js';
import { describeFlows } from './suites/flows.js';

describeFlows(pgStoreFactory);

describe('saveFlow inside a transaction', () => {
  const db = useDatabase();
  const parent = jobIn('waiting', { queueName: 'parents', id: 'root' });

  test('a conflict does not end the transaction of a caller', async () => {
    const store = await openStore(db.url);
    await store.saveFlow(flowOf(parent, [childOf(parent, 'a')]));
    const client = postgres(db.url, { max: 1, onnotice: () => {} });
    const record = (id: string) => encodeRecord('parents', id, jobIn('waiting', { id }), { maxPayloadBytes: 1e6 });
    await drizzle(client).transaction(async (tx) => {
      const inside = store.engine.within(tx);
      expect(await saveFlow(inside, [record('root')])).toEqual(['root']);
      await expect(saveFlow(inside, [record('new'), record('a')])).rejects.toThrow('nothing of the flow');
      expect(await saveFlow(inside, [record('new')])).toEqual(['new']);
    });
    await client.end();
    expect((await store.getJob('parents', 'new'))?.state).toBe('waiting');
    await store.disconnect();
  });
});
