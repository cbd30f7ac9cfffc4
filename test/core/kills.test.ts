import { expect, it } from 'vitest';
import { type FlowNode, FlowProducer } from '../../src/index.js';
import { randomPause } from '../support/pauses.js';
import { usePlayground } from '../support/playground.js';
import { type Script, spawnScript } from '../support/process.js';
import { until } from '../support/until.js';

const play = usePlayground();

const spawnWorkers = (args: string[]) => spawnScript(new URL('./killed-worker.script.ts', import.meta.url), { args });

it('worker processes that are killed at random: every job ends, and once', async () => {
  const { sql, url } = play.database;
  await sql.unsafe(`
    create table ends (id text, state text);
    create function note_end() returns trigger language plpgsql as $$ begin
      insert into ends values (old.id, case when tg_op = 'DELETE' then 'gone' else new.state end); return null; end $$;
    create trigger ended after update on conveyor_jobs for each row
      when (old.state not in ('completed', 'failed') and new.state in ('completed', 'failed')) execute function note_end();
    create trigger gone after delete on conveyor_jobs for each row
      when (old.state not in ('completed', 'failed')) execute function note_end()`);
  const store = await play.open();
  const queue = play.queue(store);
  const flows: FlowNode[] = [];
  for (let i = 0; i < 60; i++) {
    flows.push(
      await new FlowProducer({ store }).add({
        name: 'parent',
        queueName: queue.name,
        data: i,
        opts: { removeOnComplete: i % 3 === 0 },
        children: Array.from({ length: 4 }, (_, n) => ({
          name: 'child',
          queueName: queue.name,
          data: n,
          opts: { removeOnComplete: n % 2 === 0 },
        })),
      }),
    );
  }
  const workers: Script[] = [];
  const start = () => workers.push(spawnWorkers([url, queue.name]));
  start();
  start();
  const ended = async () => (await sql`select count(*)::int as n from ends`)[0]?.['n'] as number;
  for (let kill = 0; kill < 5; kill++) {
    const before = await ended();
    await until(async () => (await ended()) > before + 10 || (await ended()) === 300, { timeout: 20_000 });
    await randomPause(100);
    await workers.shift()?.kill();
    start();
  }
  await until(async () => (await ended()) >= 300, { timeout: 30_000 });
  await Promise.all(workers.map((worker) => worker.kill()));

  expect(await sql`select id, count(*) as n from ends group by id having count(*) <> 1`).toEqual([]);
  expect(await sql`select distinct state from ends where state not in ('completed', 'gone')`).toEqual([]);
  const counts = await queue.getJobCounts();
  expect(counts).toEqual({ waiting: 0, 'waiting-children': 0, delayed: 0, active: 0, failed: 0, completed: 160 });
  // Each parent found what all of its children had returned.
  for (const { job, children } of flows) {
    const parent = await queue.getJob(job.id);
    if (!parent) continue;
    expect(parent.returnvalue).toEqual(Object.fromEntries((children ?? []).map((child, n) => [child.job.id, n])));
  }
}, 60_000);

it('maxGlobalConcurrency 3 over 8 workers is kept while processes and connections are killed', async () => {
  const { sql, url } = play.database;
  await sql.unsafe(`
    create table steps (n bigint generated always as identity, queue text, step int);
    create function note_step() returns trigger language plpgsql as $$ begin
      insert into steps (queue, step) values (new.queue_name, case new.state when 'active' then 1 else -1 end);
      return null; end $$;
    create trigger stepped after update on conveyor_jobs for each row
      when ((old.state = 'active') <> (new.state = 'active')) execute function note_step()`);
  const store = await play.open();
  const queue = play.queue(store);
  await queue.addBulk(Array.from({ length: 120 }, (_, data) => ({ name: 'work', data })));
  const options = JSON.stringify({ maxGlobalConcurrency: 3 });
  const processes: Script[] = [];
  const start = () => processes.push(spawnWorkers([url, queue.name, '4', options]));
  start();
  start();
  const completed = () => queue.count('completed').catch(() => 0);
  for (let kill = 0; kill < 4; kill++) {
    const before = await completed();
    await until(async () => (await completed()) > Math.min(before + 10, 119), { timeout: 20_000 });
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'conveyor'`;
    await randomPause(100);
    if (kill % 2) {
      await processes.shift()?.kill();
      start();
    }
  }
  await until(async () => (await completed()) === 120, { timeout: 30_000 });
  await Promise.all(processes.map((one) => one.kill()));
  const [row] = await sql`select max(level)::int as most from (
    select sum(step) over (order by n) as level from steps where queue = ${queue.name}) levels`;
  expect(row).toEqual({ most: 3 });
}, 60_000);
