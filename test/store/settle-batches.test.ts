/** Settlements of every kind in one batch: each takes effect, and answers come in the order of the requests. */
import { expect, it } from 'vitest';
import { FlowProducer } from '../../src/index.js';
import { claim } from '../../src/store/claim/claim.js';
import { type Settled, type SettleKind, type Settlement, settle } from '../../src/store/settle/settle.js';
import { usePlayground } from '../support/playground.js';
import { placesIn } from '../support/settling.js';

const play = usePlayground();

/** The same numbers in each run. */
function dice(seed: number) {
  let state = seed;
  return (sides: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 9) % sides;
  };
}

const KINDS: SettleKind[] = ['completed', 'failed', 'retry', 'delayed', 'released'];
const OTHERS = { completed: 'completed', failed: 'failed', retry: 'failed', delayed: 'delayed', released: 'waiting' };

it.each([
  ['completions', ['completed'] satisfies SettleKind[], 1],
  ['everything', KINDS, 2],
] as const)('a batch of %s, some of them lost, cancelled or discarded', async (_, kinds, seed) => {
  const roll = dice(seed);
  const store = await play.open();
  const { sql } = play.database;
  const queues = [play.queue(store), play.queue(store)];
  const parents = play.queue(store);
  for (let n = 0; n < 20; n++) {
    const children = queues.map(({ name }) => ({ name: 'child', queueName: name, data: n }));
    await new FlowProducer({ store }).add({ name: 'parent', queueName: parents.name, data: n, children });
  }
  const batch: { settlement: Settlement; expected: Settled | undefined }[] = [];
  for (const queue of queues) {
    // The same ids in both.
    await queue.addBulk(Array.from({ length: 60 }, (_, n) => ({ name: 'work', data: n, opts: { jobId: `job-${n}` } })));
    for (const workerId of ['first', 'second', 'third']) {
      const request = { queueName: queue.name, workerId, lockDuration: 60_000, limit: 30 };
      const claimed = await claim(store.engine.executor, request);
      const places = await placesIn(sql, queue.name);
      for (const { job, lease } of claimed) {
        const kind = kinds[roll(kinds.length)] as SettleKind;
        const settlement: Settlement = {
          queueName: queue.name,
          id: job.id,
          lease,
          workerId,
          kind,
          place: [undefined, places.get(job.id)][roll(2)],
          startedAt: job.processedAt?.toISOString(),
          returnvalue: kind === 'completed' ? JSON.stringify([queue.name, job.id, '"é\\', { '': null }]) : undefined,
          reason: kind === 'failed' || kind === 'retry' ? 'why' : undefined,
          delayMs: kind === 'retry' ? 60_000 : undefined,
          until: kind === 'delayed' ? Date.now() + 60_000 : undefined,
          logs: roll(4) === 0 ? JSON.stringify([job.id]) : undefined,
          keepCompletedMs: [undefined, 0, 60_000][roll(3)],
          keepFailedMs: [undefined, 0][roll(2)],
          hasParent: job.parentId !== null,
        };
        const fate = ['cancelled', 'discarded', 'stale', 'stolen', ...Array(6).fill('ours')][roll(10)];
        if (fate === 'cancelled') {
          await sql`update conveyor_jobs set cancelled_at = now() where queue_name = ${queue.name} and id = ${job.id}`;
        } else if (fate === 'discarded') {
          await sql`update conveyor_jobs set discarded = true where queue_name = ${queue.name} and id = ${job.id}`;
        } else if (fate === 'stale') {
          batch.push({ settlement: { ...settlement, lease: lease - 1 }, expected: undefined });
        } else if (fate === 'stolen') {
          batch.push({ settlement: { ...settlement, workerId: 'nobody' }, expected: undefined });
        }
        const cancelled = fate === 'cancelled';
        const again = kind === 'retry' && fate !== 'discarded';
        const state = (cancelled ? 'failed' : again ? 'delayed' : OTHERS[kind]) as Settled['state'];
        const keptFor = { completed: settlement.keepCompletedMs, failed: settlement.keepFailedMs };
        const removed = (state === 'completed' || state === 'failed') && keptFor[state] === 0;
        batch.push({ settlement, expected: { state, cancelled, removed } });
      }
    }
  }
  // By no order of the keys.
  batch.sort(() => roll(3) - 1);
  const asked = batch.map(({ settlement }) => settlement);
  const { outcomes } = await settle(store.engine.executor, asked, { metrics: true, shard: 1 });
  expect(outcomes).toEqual(batch.map(({ expected }) => expected));
  const rows = await sql`select * from conveyor_jobs where queue_name <> ${parents.name}`;
  const found = new Map(rows.map((row) => [`${row['queue_name']} ${row['id']}`, row]));
  for (const { settlement, expected } of batch) {
    const row = found.get(`${settlement.queueName} ${settlement.id}`);
    if (expected?.removed) expect(row).toBeUndefined();
    else if (expected) expect(row?.['state']).toBe(expected.state);
    if (expected?.state !== 'completed' || expected.removed) continue;
    // A record that says nothing more than the row does is not stored.
    const { logs } = settlement;
    const record = { attempt: 1, status: 'completed', error: null, logs: JSON.parse(logs ?? '[]') };
    expect(row?.['attempt_logs']).toMatchObject(logs === undefined ? [] : [record]);
    const job = await store.getJob(settlement.queueName, settlement.id);
    expect(job?.attemptLogs).toMatchObject([record]);
    expect(row?.['returnvalue']).toEqual(JSON.parse(settlement.returnvalue ?? ''));
  }
  // A failed child has failed its parent.
  const miscounted = await sql`
    select 1 from conveyor_jobs p, lateral (
      select count(*) filter (where state not in ('completed', 'failed')) as n
      from conveyor_jobs c where c.parent_id = p.id and c.parent_queue_name = p.queue_name) open
    where p.queue_name = ${parents.name} and (p.state = 'waiting-children') is distinct from (open.n > 0)
      and p.state <> 'failed'`;
  expect(miscounted).toHaveLength(0);
});
