import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { promoteChunk } from '../../src/store/change/promote.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { sweep } from '../../src/store/lease/sweep.js';
import { clean } from '../../src/store/remove/clean.js';
import { deleteExpired } from '../../src/store/remove/delete-expired.js';
import { SetAside } from '../../src/store/rules/set-aside.js';
import { openStore } from '../support/contract-stores.js';
import { useDatabase } from '../support/database.js';
import { insertRows, newQueue } from '../support/rows.js';

/** One row for which the database refuses a statement that is meant for many. */

const database = useDatabase();
let store: PgStore;
beforeAll(async () => {
  store = await openStore(database.url);
  await database.sql.unsafe(`
    create function refuse_poison() returns trigger language plpgsql as $$ begin
      if old.name = 'poison' then raise exception 'not this one' using errcode = '23503'; end if;
      return case tg_op when 'DELETE' then old else new end;
    end $$;
    create trigger refuse_poison before update or delete on conveyor_jobs
      for each row execute function refuse_poison()`);
  return () => store.disconnect();
});
afterEach(async () => {
  await database.sql`truncate conveyor_jobs`;
});

/** 20 jobs, the tenth of which is refused. */
async function rows(columns: Record<string, string>): Promise<string> {
  const queue = newQueue();
  await insertRows(database.sql, queue, 20, {
    id: `'row-' || to_char(i, 'FM00')`,
    name: `case i when 10 then 'poison' else 'job' end`,
    ...columns,
  });
  return queue;
}

const left = async (queue: string, condition: string) =>
  (await database.sql.unsafe(`select name from conveyor_jobs where queue_name = '${queue}' and ${condition}`)).map(
    ({ name }) => name as string,
  );

function recording() {
  const told: string[] = [];
  return { told, aside: new SetAside(({ id }) => told.push(id)) };
}

it('retention deletes the others, says it once, and passes that row over from then on', async () => {
  const queue = await rows({ state: `'completed'`, completed_at: 'now()', remove_at: `now() - interval '1 minute'` });
  const { told, aside } = recording();
  await deleteExpired(store.engine.executor, aside);
  expect(await left(queue, 'true')).toEqual(['poison']);
  await deleteExpired(store.engine.executor, aside);
  expect(told).toEqual(['row-10']);
});

it('a sweep returns the others', async () => {
  const queue = await rows({ state: `'active'`, lock_until: `now() - interval '1 minute'`, locked_by: `'gone'` });
  const { told, aside } = recording();
  const { jobs } = await sweep(store.engine.executor, queue, 1, null, aside);
  expect(jobs).toHaveLength(19);
  expect(await left(queue, `state = 'active'`)).toEqual(['poison']);
  expect(told).toEqual(['row-10']);
});

it('a promotion makes the others waiting', async () => {
  const queue = await rows({ state: `'delayed'`, delay_until: `now() - interval '1 minute'` });
  const { told, aside } = recording();
  const ids: string[] = [];
  for (let chunk = ['']; chunk.length > 0; ) {
    chunk = await promoteChunk(store.engine.executor, queue, aside);
    ids.push(...chunk);
  }
  expect(ids).toHaveLength(19);
  expect(await left(queue, `state = 'delayed'`)).toEqual(['poison']);
  expect(told).toEqual(['row-10']);
});

it('a job of the same id in another queue is not passed over', async () => {
  const due = { state: `'delayed'`, delay_until: `now() - interval '1 minute'` };
  const [first, second] = [await rows(due), await rows({ ...due, name: `'job'` })];
  const { aside } = recording();
  await promoteChunk(store.engine.executor, first, aside);
  await promoteChunk(store.engine.executor, second, aside);
  expect(await left(second, `state = 'delayed'`)).toEqual([]);
});

it('is tried again soon, and then ever more rarely', async () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    const pauses: number[] = [];
    const aside = new SetAside((_job, _error, ms) => pauses.push(ms));
    for (let i = 0; i < 13; i++) {
      aside.add('q\nx', new Error('refused'));
      expect(aside.skip).toBe('["q\\nx"]');
      expect(aside.endsIn).toBe(pauses.at(-1));
      vi.advanceTimersByTime(aside.endsIn!);
      expect([aside.skip, aside.endsIn]).toEqual(['[]', undefined]);
    }
    expect(pauses.slice(0, 3)).toEqual([2_000, 4_000, 8_000]);
    expect(pauses.slice(-2)).toEqual([3_600_000, 3_600_000]);
  } finally {
    vi.useRealTimers();
  }
});

it('clean removes the others, and then its caller is told', async () => {
  const queue = await rows({
    state: `'completed'`,
    completed_at: `now() - interval '1 hour'`,
    created_at: `now() - interval '1 hour'`,
  });
  await expect(clean(store.engine.executor, queue, 'completed', 1_000)).rejects.toMatchObject({ code: 'PG_23503' });
  expect(await left(queue, 'true')).toEqual(['poison']);
});

it('trouble that passes sets nothing aside', async () => {
  const queue = await rows({ state: `'completed'`, completed_at: 'now()', remove_at: `now() - interval '1 minute'` });
  const { told, aside } = recording();
  const { executor } = store.engine;
  const away = {
    tables: executor.tables,
    run: () => Promise.reject(Object.assign(new Error('away'), { code: '53100' })),
  };
  await expect(deleteExpired(away, aside)).rejects.toThrow('away');
  expect(told).toEqual([]);
  expect(await left(queue, 'true')).toHaveLength(20);
});

it('a database that refuses every row is asked no more than a bounded number of times', async () => {
  const queue = await rows({
    state: `'completed'`,
    completed_at: 'now()',
    remove_at: `now() - interval '1 minute'`,
    name: `'poison'`,
  });
  const { told, aside } = recording();
  for (let i = 0; i < 195; i++) aside.add(`other-${i}`, new Error('earlier'));
  await expect(deleteExpired(store.engine.executor, aside)).rejects.toMatchObject({ code: 'PG_23503' });
  expect(told).toHaveLength(200);
  expect(await left(queue, 'true')).toHaveLength(20);
});
