import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { PgStore, Queue } from '../../src/index.js';
import { randomPause } from '../support/pauses.js';
import { type Recorded, record, usePlayground } from '../support/playground.js';
import { insertRows } from '../support/rows.js';
import { until } from '../support/until.js';

/** What the server answers to each kind of statement, class by class, and that work goes on when it is over. */

// The pauses between the tries of a statement add up to seconds.
vi.mock('node:timers/promises', async (load) => {
  const timers = await load<typeof import('node:timers/promises')>();
  const setTimeout = (ms: number, value: unknown, options: object) =>
    timers.setTimeout(Math.min(ms, 20), value, options);
  return { ...timers, setTimeout };
});

const play = usePlayground();

/** It concerns the moment. */
const PASSING = [
  ...['25006', '40001', '40P01', '40003', '53000', '53100', '53200', '53300', '53400', '55P03', '55006', '57014'],
  ...['57P01', '57P03', '58000', '58030'],
];
/** It concerns what is written. */
const REFUSALS = ['22001', '22P02', '22P05', '23502', '23503', '23505', '23514', '54000', '54001', 'P0001', 'XX000'];

/** The pool is replaced: these have one of their own. */
const CONDEMNING = ['25006', '57P01', '57P03'];

type Step = 'add' | 'claim' | 'promotion' | 'sweep' | 'retention';

beforeAll(async () => {
  await play.database.sql.unsafe(`
    create table trouble (queue_name text, step text, job_name text, sqlstate text);
    create function raise_trouble() returns trigger language plpgsql as $$
    declare
      row record := case tg_op when 'DELETE' then old else new end;
      doing text := case when tg_op = 'INSERT' then 'add' when tg_op = 'DELETE' then 'retention'
        when old.state = 'delayed' then 'promotion' when old.state = 'waiting' and new.state = 'active' then 'claim'
        when old.state = 'active' and old.lock_until < now() then 'sweep' end;
      found text;
    begin
      select sqlstate into found from trouble t
        where t.queue_name = row.queue_name and t.step = doing and (t.job_name is null or t.job_name = row.name);
      if found is not null then
        raise exception 'trouble on purpose' using errcode = found;
      end if;
      return row;
    end $$;
    create trigger raise_trouble before insert or update or delete on conveyor_jobs
      for each row execute function raise_trouble()`);
});

async function makeTrouble(queue: Queue, step: Step, sqlstate: string, jobName: string | null = null) {
  const { sql } = play.database;
  const name = queue.name;
  await sql`insert into trouble values (${name}, ${step}, ${jobName}, ${sqlstate})`;
  return () => sql`delete from trouble where queue_name = ${name}`;
}

/** Runs `each` for all codes at once, over one store for all that can share it. */
async function forAll(codes: readonly string[], each: (sqlstate: string, store: PgStore) => Promise<void>) {
  const shared = await play.open();
  await Promise.all(
    codes.map(async (sqlstate) => each(sqlstate, CONDEMNING.includes(sqlstate) ? await play.open() : shared)),
  );
}

/** A worker that is told of the trouble, and what it said until then. */
async function workThrough(store: PgStore, queue: Queue, sqlstate: string, end: () => PromiseLike<unknown>) {
  const heard = record(play.worker(queue, store, () => 'done', { stalledInterval: 100 }));
  await until(() => reported(heard, sqlstate), { what: `${sqlstate} to be reported` });
  await end();
  return heard;
}

/** A cancelled statement is a ConnectionError. */
const reported = ({ errors }: Recorded, sqlstate: string) => {
  const codes = [`PG_${sqlstate}`, 'CONNECTION', 'JOB_SET_ASIDE'];
  return errors.some((error) => codes.includes((error as Error & { code: string }).code));
};

const done = (heard: Recorded, count: number, what: string) =>
  until(() => heard.completed.length === count, { timeout: 8_000, what });

it('the claim goes on when the trouble is over', async () => {
  await forAll([...PASSING, ...REFUSALS], async (sqlstate, store) => {
    const queue = play.queue(store);
    const end = await makeTrouble(queue, 'claim', sqlstate);
    await queue.addBulk([1, 2, 3].map((data) => ({ name: 'work', data })));
    await done(await workThrough(store, queue, sqlstate, end), 3, `claims after ${sqlstate}`);
  });
});

it('the promotion goes on when the trouble is over', async () => {
  await forAll([...PASSING, ...REFUSALS], async (sqlstate, store) => {
    const queue = play.queue(store);
    const end = await makeTrouble(queue, 'promotion', sqlstate);
    await queue.add('work', null, { delay: 1 });
    await done(await workThrough(store, queue, sqlstate, end), 1, `a promotion after ${sqlstate}`);
  });
});

it('the sweep goes on when the trouble is over', async () => {
  await forAll([...PASSING, ...REFUSALS], async (sqlstate, store) => {
    const queue = play.queue(store);
    const end = await makeTrouble(queue, 'sweep', sqlstate);
    const lost = { state: `'active'`, locked_by: `'gone'`, lock_until: `now() - interval '1 minute'` };
    await insertRows(play.database.sql, queue.name, 1, lost);
    await done(await workThrough(store, queue, sqlstate, end), 1, `a sweep after ${sqlstate}`);
  });
});

describe('retention goes on when the trouble is over', () => {
  const expired = {
    state: `'completed'`,
    completed_at: 'now()',
    remove_at: `now() - interval '1 minute'`,
  };
  const goesOn = async (sqlstate: string, store: PgStore) => {
    const queue = play.queue(store);
    const end = await makeTrouble(queue, 'retention', sqlstate);
    await insertRows(play.database.sql, queue.name, 1, { ...expired, id: `'${sqlstate}'` });
    await workThrough(store, queue, sqlstate, end);
    await until(async () => (await queue.count('completed')) === 0, { timeout: 8_000 });
  };

  // One statement is for all queues.
  it.each(PASSING)('%s', async (sqlstate) => goesOn(sqlstate, await play.open()));
  it('of all that refuse single rows', async () => {
    // A store's retention is reported to one of its workers.
    await Promise.all(REFUSALS.map(async (sqlstate) => goesOn(sqlstate, await play.open({ listen: false }))));
  });
});

describe('one job that is refused does not hold up the others in', () => {
  it.each<[string, Parameters<typeof play.worker>[3]]>([
    ['the plain order', {}],
    ['lifo', { lifo: true }],
    ['a queue with a concurrency', { maxGlobalConcurrency: 50 }],
    ['a queue with a rate limit', { limiter: { max: 1_000, duration: 1_000 } }],
    ['groups', { group: { concurrency: 50 } }],
    ['groups with limits', { group: { concurrency: 50 }, maxGlobalConcurrency: 50, lifo: true }],
  ])('%s', async (_order, options) => {
    const store = await play.open();
    const queue = play.queue(store);
    const end = await makeTrouble(queue, 'claim', 'P0001', 'poison');
    const inGroup = (id: string) => (options?.group ? { group: { id } } : {});
    const names = ['poison', ...Array.from({ length: 20 }, () => 'work'), 'poison'];
    await queue.addBulk(names.map((name, data) => ({ name, data, opts: inGroup('a') })));
    await queue.add('work', null, inGroup('b'));
    const heard = record(play.worker(queue, store, () => 'done', { ...options, concurrency: 5, stalledInterval: 100 }));
    await until(() => heard.completed.length === 21, { timeout: 5_000 });
    expect(await queue.count('waiting')).toBe(2);
    expect(heard.errors).toContainEqual(expect.objectContaining({ code: 'JOB_SET_ASIDE' }));
    await end();
    await done(heard, 23, 'the jobs that were set aside');
  });
});

describe('add', () => {
  const saved = async (queue: Queue) => {
    const [row] = await play.database.sql`
      select count(*)::int as n from conveyor_jobs where queue_name = ${queue.name}`;
    return row?.['n'] as number;
  };

  it('waits until passing trouble is over, or is refused with a code and saves nothing', async () => {
    await forAll(PASSING, async (sqlstate, store) => {
      const queue = play.queue(store);
      const end = await makeTrouble(queue, 'add', sqlstate);
      const adding = queue.add('work', null).then(
        () => 'saved',
        (error: { code?: string }) => error.code,
      );
      await randomPause(200);
      await end();
      const answer = await adding;
      expect(['saved', `PG_${sqlstate}`, 'CONNECTION']).toContain(answer);
      expect(await saved(queue)).toBe(answer === 'saved' ? 1 : 0);
      expect(await queue.add('work', null)).toMatchObject({ state: 'waiting' });
    });
  });

  it('refuses a job at once for what it is, and saves the others of its batch', async () => {
    await forAll(REFUSALS, async (sqlstate, store) => {
      const queue = play.queue(store);
      await makeTrouble(queue, 'add', sqlstate, 'poison');
      for (const opts of [{}, { deduplication: { key: sqlstate } }]) {
        const names = ['work', 'poison', 'work', 'work'];
        const added = await Promise.allSettled(names.map((name, i) => queue.add(name, i, i === 1 ? opts : {})));
        expect(added.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
        expect(added[1]).toMatchObject({ reason: { name: 'ConveyorError', code: `PG_${sqlstate}` } });
      }
      expect(await saved(queue)).toBe(6);
    });
  });
});
