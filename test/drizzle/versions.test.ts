/** A rolling deploy: the released version and this one at work on the same tables, and the released one alone again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import type { Job } from '../../src/index.js';
import { newName, usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';
import { until } from '../support/until.js';

const play = usePlayground();

beforeAll(() => play.database.sql`create table effects (id text, version text)`);

const released = (args: string[]) => spawnScript(new URL('./released-process.script.ts', import.meta.url), { args });

it('both take jobs of one queue, each job runs once, and each hears of the ends in the other', async () => {
  const { sql, url } = play.database;
  const store = await play.open();
  const [name, other] = [newName(), newName()];
  const queue = play.queue(store, {}, name);
  const old = released([url, name, other]);
  await old.waitFor(({ ready }: { ready?: boolean }) => ready === true);
  const handler = async (job: Job) => {
    await sql`insert into effects values (${job.id}, 'present')`;
    await sleep(5);
    if (job.name === 'fail') throw new Error('on purpose');
    return { from: 'present', data: job.data };
  };
  play.worker({ name }, store, handler, { concurrency: 4 });
  play.worker({ name: other }, store, handler);

  const jobs = await queue.addBulk(
    Array.from({ length: 200 }, (_, data) => ({
      name: data % 10 === 0 ? 'fail' : 'work',
      data,
      opts: { attempts: 1 },
    })),
  );
  const ends = await Promise.allSettled(jobs.map((job) => job.waitUntilFinished(20_000)));
  const versions = new Set<string>();
  for (const [i, end] of ends.entries()) {
    if (i % 10 === 0) expect(end).toMatchObject({ reason: { message: 'on purpose' } });
    else {
      expect(end).toMatchObject({ value: { data: i } });
      versions.add((end as PromiseFulfilledResult<{ from: string }>).value.from);
    }
  }
  expect([...versions].sort()).toEqual(['present', 'released']);
  expect(await sql`select id from effects group by id having count(*) > 1`).toEqual([]);

  old.send({ add: true });
  const { result, reason } = await old.waitFor<{ result?: unknown; reason?: string }>((line) => 'result' in line);
  expect({ result, reason }).toEqual({ result: { from: 'present', data: 7 }, reason: 'on purpose' });
  // It has said once that the tables are newer.
  const told = old.lines.filter((line) => /is at migration/.test(String((line as { told?: string }).told)));
  expect(told).toHaveLength(1);
  await old.kill();
}, 60_000);

it('what a killed process of the released version held runs here, and the other way round', async () => {
  const { sql, url } = play.database;
  const store = await play.open();
  const name = newName();
  const queue = play.queue(store, {}, name);
  const jobs = await queue.addBulk(Array.from({ length: 100 }, (_, data) => ({ name: 'work', data })));
  const old = released([url, name, newName()]);
  await until(async () => (await queue.count('completed')) > 10, { timeout: 20_000 });
  await old.kill();
  const worker = play.worker({ name }, store, async () => 'present', { stalledInterval: 200, lockDuration: 1_000 });
  await until(async () => (await queue.count('completed')) === jobs.length, { timeout: 20_000 });
  await worker.close();
  // Going back.
  const late = await queue.add('work', 'late');
  await sql`update conveyor_jobs set state = 'active', lease = lease + 1, locked_by = 'gone', lock_until = now()
    where id = ${late.id}`;
  const again = released([url, name, newName()]);
  expect(await late.waitUntilFinished(20_000)).toEqual({ from: 'released', data: 'late' });
  await again.kill();
}, 60_000);
