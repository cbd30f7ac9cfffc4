import { describe, expect, it } from 'vitest';
import { FlowProducer, type PgStore, Worker } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { onStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

/** From its n-th statement on the process is as good as dead: that one takes effect, and it does not hear of it. */
function freezeAt(store: PgStore, n: number): { frozen: Promise<void>; thaw(): void } {
  const [frozen, thawed] = [deferred(), deferred()];
  const later = (run: () => Promise<unknown>) => thawed.promise.then(run);
  const lost = () => Promise.reject(new Error('the answer was lost'));
  let count = 0;
  onStatements(store, async (name, run) => {
    if (count >= n) return later(run);
    const last = name !== 'notify' && name !== 'poll' && ++count === n;
    const answer = await run();
    if (!last) return answer;
    frozen.resolve();
    return later(lost);
  });
  return { frozen: frozen.promise, thaw: () => thawed.resolve() };
}

/** Each end of a job, counted in the database. */
async function countEnds(): Promise<(queue: { name: string }) => Promise<Record<string, number>>> {
  await play.database.sql.unsafe(`
    create table if not exists ends (queue text, id text);
    create or replace function note_end() returns trigger language plpgsql as $$ begin
      if tg_op = 'DELETE' then insert into ends values (old.queue_name, old.id);
      else insert into ends values (new.queue_name, new.id); end if; return null; end $$;
    create or replace trigger ended after update on conveyor_jobs for each row
      when (old.state not in ('completed', 'failed') and new.state in ('completed', 'failed')) execute function note_end();
    create or replace trigger gone after delete on conveyor_jobs for each row
      when (old.state not in ('completed', 'failed')) execute function note_end()`);
  return async ({ name }) => {
    const rows = await play.database.sql`select id, count(*)::int as n from ends where queue = ${name} group by id`;
    return Object.fromEntries(rows.map(({ id, n }) => [id, n]));
  };
}

describe('a process that dies after any of its statements', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('after the %d.', async (n) => {
    const ends = await countEnds();
    const metrics = { enabled: true };
    const [doomed, heir] = [await play.open({ listen: false, metrics }), await play.open({ metrics })];
    const queue = play.queue<string>(heir, { defaultJobOptions: { attempts: 3 } });
    const run = async (job: { data: unknown; attemptsMade: number }) => {
      if (job.data === 'flaky' && job.attemptsMade === 0) throw new Error('the first time');
      if (job.data === 'bad') throw new Error('always');
      return job.data;
    };
    const flow = await new FlowProducer({ store: heir }).add({
      name: 'parent',
      queueName: queue.name,
      data: 'parent',
      opts: { failParentOnChildFailure: 'ignore' },
      children: [
        { name: 'child', queueName: queue.name, data: 'gone', opts: { removeOnComplete: true } },
        { name: 'child', queueName: queue.name, data: 'flaky', opts: { attempts: 3 } },
        { name: 'child', queueName: queue.name, data: 'bad', opts: { removeOnFail: true } },
      ],
    });
    const strict = await new FlowProducer({ store: heir }).add({
      name: 'strict',
      queueName: queue.name,
      data: 'never runs',
      children: [{ name: 'strict child', queueName: queue.name, data: 'bad', opts: { attempts: 2 } }],
    });
    await queue.every('1 hour', 'tick', 'tick', { repeat: { limit: 1 } });
    const options = { lockDuration: 250, stalledInterval: 50, maxStalledCount: 3, concurrency: 2 };
    const death = freezeAt(doomed, n);
    const first = new Worker(queue.name, run, { store: doomed, ...options });
    first.on('error', () => {});
    await Promise.race([death.frozen, until(async () => (await queue.getJob(flow.job.id))?.state === 'completed')]);

    play.worker(queue, heir, run, options);
    const [gone, flaky, bad] = (flow.children ?? []).map(({ job }) => job.id) as [string, string, string];
    const parent = await queue.getJob(flow.job.id);
    expect(await parent?.waitUntilFinished()).toBe('parent');
    await until(async () => (await queue.count('active')) === 0 && (await queue.count('waiting')) === 0);
    // It was not dead after all: what it writes now comes too late.
    death.thaw();
    await first.close();
    expect(await parent?.getChildrenValues()).toEqual({ [gone]: 'gone', [flaky]: 'flaky' });
    expect(await queue.getJob(bad)).toBeNull();
    expect((await queue.getJob(flaky))?.attemptsMade).toBe(1);
    const counted = await ends(queue);
    expect(await queue.getJob(strict.job.id)).toMatchObject({ state: 'failed', failedReason: 'Child failed: always' });
    expect(counted).toMatchObject({ [flow.job.id]: 1, [strict.job.id]: 1, [gone]: 1, [flaky]: 1, [bad]: 1 });
    expect(Object.values(counted)).toEqual([1, 1, 1, 1, 1, 1, 1]);
    const buckets = await heir.getMetrics(queue.name, {
      granularity: 'minute',
      from: new Date(Date.now() - 7_200_000),
      to: new Date(Date.now() + 7_200_000),
    });
    const sum = (of: 'completedCount' | 'failedCount') =>
      buckets.filter(({ jobName }) => jobName !== '__all__').reduce((total, bucket) => total + bucket[of], 0);
    expect([sum('completedCount'), sum('failedCount')]).toEqual([4, 2]);
  });
});
