/** Rows of groups and queues that nothing needs any more, and claims and adds that need them at that moment. */
import { beforeAll, describe, expect, it, test } from 'vitest';
import { PgStore, Queue } from '../../src/index.js';
import { IdleRows } from '../../src/store/remove/idle-rows.js';
import { useClaimers } from '../support/claimers.js';
import { useDatabase } from '../support/database.js';
import { openTransaction, untilWaiting } from '../support/held.js';
import { planOf, statementOf } from '../support/plan.js';
import { insertRows, newQueue } from '../support/rows.js';

const database = useDatabase();
const claimers = useClaimers(database);
let store: PgStore;
beforeAll(async () => {
  store = new PgStore({ connection: database.url, listen: false });
  await store.connect();
  return () => store.disconnect();
});
const run = () => new IdleRows(() => store.engine.executor).run();

const LONG_AGO = `now() - interval '61 minutes'`;

/** Cursors of groups, served long ago unless `columns` say otherwise. */
async function cursors(queueName: string, groups: string[], columns: Record<string, string> = {}): Promise<void> {
  const all = { last_served_at: LONG_AGO, served_seq: '7', ...columns };
  await database.sql.unsafe(
    `insert into conveyor_group_cursors (queue_name, group_id, ${Object.keys(all).join(', ')})
     select $1, jsonb_array_elements_text($2::text::jsonb), ${Object.values(all).join(', ')}`,
    [queueName, JSON.stringify(groups)],
  );
}

async function groupsOf(queueName: string): Promise<string[]> {
  const rows = await database.sql`select group_id from conveyor_group_cursors
    where queue_name = ${queueName} order by group_id`;
  return rows.map((row) => row['group_id'] as string);
}

const job = (state: string, group: string) => ({ id: `'${group}'`, state: `'${state}'`, group_id: `'${group}'` });

describe('group cursors', () => {
  it('go an hour after the last service, once no job of the group waits, is delayed or runs', async () => {
    const q = newQueue();
    await cursors(q, ['idle', 'waiting', 'delayed', 'active', 'completed', 'of another queue']);
    await cursors(q, ['recent'], { last_served_at: `now() - interval '59 minutes'` });
    await cursors(q, ['never'], { last_served_at: 'null' });
    await cursors(q, ['window'], { window_ms: '7200000' });
    await cursors(q, ['endless'], { window_ms: '9007199254740991' });
    for (const state of ['waiting', 'delayed', 'active', 'completed'])
      await insertRows(database.sql, q, 1, job(state, state));
    await insertRows(database.sql, newQueue(), 1, job('waiting', 'of another queue'));
    await run();
    expect(await groupsOf(q)).toEqual(['active', 'delayed', 'endless', 'recent', 'waiting', 'window']);
  });

  it('that of the jobs without a group stays as long as its queue has anything to do', async () => {
    const [busy, idle, recent] = [newQueue(), newQueue(), newQueue()];
    for (const q of [busy, idle]) await cursors(q, [''], { survey_due: LONG_AGO });
    await cursors(recent, [''], { survey_due: 'now()' });
    await insertRows(database.sql, busy, 1, job('active', 'any'));
    await run();
    expect([await groupsOf(busy), await groupsOf(idle), await groupsOf(recent)]).toEqual([[''], [], ['']]);
  });

  it('are passed over while others hold them, and while another process deletes some', async () => {
    const q = newQueue();
    await cursors(q, ['a', 'b']);
    const held = await openTransaction(database.sql);
    await held.sql`select 1 from conveyor_group_cursors where queue_name = ${q} and group_id = 'a' for update`;
    await run();
    expect(await groupsOf(q)).toEqual(['a']);
    await held.rollback();
    const other = await openTransaction(database.sql);
    await other.sql`select pg_try_advisory_xact_lock(1668247158, 'conveyor_group_cursors'::regclass::oid::int)`;
    await run();
    expect(await groupsOf(q)).toEqual(['a']);
    await other.rollback();
    await run();
    expect(await groupsOf(q)).toEqual([]);
  });

  it('a group that comes back is claimed from as one that was never served', async () => {
    const q = newQueue();
    await cursors(q, ['back']);
    await cursors(q, ['', 'steady'], { last_served_at: 'now()' });
    await run();
    await insertRows(database.sql, q, 2, { group_id: `case i when 1 then 'steady' else 'back' end` });
    const [claimer] = await claimers(q, 1);
    expect(await claimer!.groups({ groupConcurrency: 5, limit: 1 })).toEqual(['back']);
    expect(await claimer!.groups({ groupConcurrency: 5, limit: 1 })).toEqual(['steady']);
  });

  it('a cursor that goes while a claim is about to lock it: the claim tries again and takes the job', async () => {
    const q = newQueue();
    await cursors(q, ['', 'g']);
    await insertRows(database.sql, q, 1, { group_id: `'g'` });
    const [claimer] = await claimers(q, 1);
    const held = await openTransaction(database.sql);
    await held.sql`delete from conveyor_group_cursors where queue_name = ${q}`;
    const claim = claimer!.groups({ groupConcurrency: 1 });
    await held.commit();
    expect(await claim).toEqual(['g']);
  });

  it('a cursor that goes while an add waits for it: the group holds no more than it may', async () => {
    const q = newQueue();
    await cursors(q, ['g'], { added: '5' });
    const held = await openTransaction(database.sql);
    await held.sql`delete from conveyor_group_cursors where queue_name = ${q}`;
    const queue = new Queue(q, { store });
    const options = { group: { id: 'g', maxSize: 2 } };
    const adds = Promise.allSettled([1, 2, 3, 4].map((n) => queue.add('work', n, options)));
    await untilWaiting(database.sql);
    await held.commit();
    const done = await adds;
    expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    expect(await queue.count('waiting')).toBe(2);
  });

  test.each([2])('8 claimers against the deletion: never more than %i active in a group, none lost', async (max) => {
    const q = newQueue();
    await insertRows(database.sql, q, 600, { group_id: `'g' || i % 40` });
    const all = await claimers(q, 8);
    let claiming = true;
    // Everything is long ago: each cursor without a job goes at once, whoever is about to use it.
    const deletions = (async () => {
      while (claiming) {
        await database.sql`update conveyor_group_cursors c set last_served_at = now() - interval '2 hours', survey_due = null
          where ctid = any(array(select ctid from conveyor_group_cursors where queue_name = ${q} for update skip locked))`;
        await run();
      }
    })();
    const leases: string[] = [];
    await Promise.all(
      all.map(async (claimer) => {
        for (let empty = 0; empty < 5; ) {
          const taken = await claimer.claim({ groupConcurrency: max, limit: 4, maxGlobalConcurrency: 30 });
          empty = taken.length === 0 ? empty + 1 : 0;
          leases.push(...taken.map(({ job, lease }) => `${job.id}/${lease}`));
          const rows = await database.sql`select group_id from conveyor_jobs
            where queue_name = ${q} and state = 'active' group by group_id having count(*) > ${max}`;
          expect(rows).toEqual([]);
          await claimer.complete(taken);
        }
      }),
    );
    claiming = false;
    await deletions;
    expect(new Set(leases).size).toBe(leases.length);
    expect(leases).toHaveLength(600);
  });

  it('of 100,000, a run reads a bounded part; the next ones the rest; claims go on', { timeout: 60_000 }, async () => {
    const q = newQueue();
    await database.sql`insert into conveyor_group_cursors (queue_name, group_id, last_served_at)
      select ${q}, 'g' || i, now() - case when i % 2 = 0 then interval '2 hours' else interval '1 minute' end
      from generate_series(1, 100000) i`;
    await insertRows(database.sql, q, 100, { group_id: `'g' || i * 2` });
    await database.sql`analyze conveyor_group_cursors, conveyor_jobs`;
    const sent = await statementOf((executor) => new IdleRows(() => executor).run());
    const nodes = await planOf(database.sql, sent, { enable_seqscan: 'off', enable_bitmapscan: 'off' });
    const read = nodes.filter(({ table }) => table === 'conveyor_group_cursors');
    expect(Math.max(...read.map(({ rows }) => rows))).toBeLessThanOrEqual(1_000);
    expect(read.map(({ index }) => index)).toContain('conveyor_group_cursors_pkey');
    const probes = nodes.filter(({ table }) => table === 'conveyor_jobs');
    expect(Math.max(...probes.map(({ rows }) => rows))).toBeLessThanOrEqual(1_000);

    const idle = new IdleRows(() => store.engine.executor);
    const began = performance.now();
    await idle.run();
    const count = async () => (await groupsOf(q)).length;
    expect(await count()).toBeGreaterThan(85_000);
    for (let i = 0; i < 6; i++) await idle.run();
    expect(await count()).toBe(50_000 + 100);
    expect(performance.now() - began).toBeLessThan(20_000);
  });
});

describe('rate limits of queues', () => {
  it('go when the window has passed and the queue has nothing to do', async () => {
    const [idle, busy, recent, future, never] = [newQueue(), newQueue(), newQueue(), newQueue(), newQueue()];
    const add = (queue: string, fetches: string, window = 0) =>
      database.sql.unsafe(
        `insert into conveyor_rate_limits (queue_name, fetches, window_ms) values ($1, ${fetches}, ${window})`,
        [queue],
      );
    const at = (offset: string) => `jsonb_build_array(jsonb_build_array(
      floor(extract(epoch from now() ${offset}) * 1000)::bigint, 1))`;
    await add(idle, at(`- interval '2 hours'`));
    await add(busy, at(`- interval '2 hours'`));
    await add(recent, at(`- interval '1 minute'`));
    await add(future, at(`- interval '2 hours'`), 10_000_000);
    await add(never, `'"damaged"'::jsonb`);
    await insertRows(database.sql, busy, 1, job('delayed', 'g'));
    await run();
    const rows = await database.sql`select queue_name from conveyor_rate_limits order by queue_name`;
    expect(new Set(rows.map((row) => row['queue_name']))).toEqual(new Set([busy, recent, future]));
  });

  it('one that goes while a claim waits for it: the claim tries again, and its limit holds', async () => {
    const q = newQueue();
    await database.sql`insert into conveyor_rate_limits (queue_name) values (${q})`;
    await insertRows(database.sql, q, 5);
    const [claimer] = await claimers(q, 1);
    const held = await openTransaction(database.sql);
    await held.sql`delete from conveyor_rate_limits where queue_name = ${q}`;
    const claim = claimer!.ids({ rateLimit: { max: 3, duration: 60_000 }, limit: 5 });
    await untilWaiting(database.sql);
    await held.commit();
    expect(await claim).toHaveLength(3);
    expect(await claimer!.ids({ rateLimit: { max: 3, duration: 60_000 }, limit: 5 })).toEqual([]);
  });
});
