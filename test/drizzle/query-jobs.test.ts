/** “Query jobs with Drizzle” in the README: its code is what is run here, and it answers what it says. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { MAJORS, scratchApp } from '../support/scratch.js';

const folder = join(import.meta.dirname, 'queries');
const script = 'ask.script.ts';
const files = readdirSync(folder)
  .filter((file) => file !== script)
  .sort();
const code = (file: string) => readFileSync(join(folder, file), 'utf8');

test('the README shows the queries as they are run', () => {
  const readme = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8');
  const section = readme.split(/^## /m).find((part) => part.startsWith('Query jobs with Drizzle\n')) ?? '';
  const shown = new Map(
    [...section.matchAll(/^```ts\n\/\/ (\S+)\n(.*?)^```$/gms)].map(([, file, text]) => [file, `// ${file}\n${text}`]),
  );
  expect([...shown.keys()].sort()).toEqual(files);
  for (const [file, text] of shown) expect(text).toBe(code(file as string));
});

describe.each(MAJORS)('on drizzle-orm %s', (major) => {
  const database = useDatabase();

  test('every query answers', { timeout: 240_000 }, async () => {
    await fill(database.sql);
    const app = await scratchApp(major);
    for (const file of [...files, script]) await app.compile(join(folder, file));
    const { stdout } = await app.node('ask.script.js', { env: { DATABASE_URL: database.url } });
    const answers = Object.assign(
      {},
      ...stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    );

    expect(answers.backlog).toEqual([
      { queue: 'other', waiting: 1, oldestSeconds: expect.any(Number) },
      { queue: 'mail', waiting: 3, oldestSeconds: expect.any(Number) },
    ]);
    expect(answers.backlog[0].oldestSeconds).toBeGreaterThanOrEqual(2 * 86_400);
    expect(answers.failureReasons).toEqual([
      { queue: 'mail', job: 'welcome', reason: 'SMTP 421 busy', jobs: 2, latest: expect.any(String) },
      { queue: 'mail', job: 'digest', reason: 'no such user', jobs: 1, latest: expect.any(String) },
    ]);
    expect(answers.jobsOfUser.map(({ email, job }: Answer) => [email, job.name, job.data])).toEqual([
      ['ada@example.com', 'digest', { userId: 1, day: 'monday' }],
      ['ada@example.com', 'welcome', { userId: 1 }],
    ]);
    expect(answers.slowest.map(({ job, jobs, p50, p95, max }: Answer) => [job, jobs, p50, p95, max])).toEqual([
      ['digest', 3, 2_000, 9_200, 10_000],
      ['welcome', 1, 50, 50, 50],
    ]);
    expect(answers.retries).toMatchObject([
      { queue: 'mail', id: 'retried', job: 'welcome', failedAttempts: 2, attempts: 5, lastError: 'SMTP 421 busy' },
    ]);
    expect(new Date(answers.retries[0].next).getTime()).toBeGreaterThan(Date.now());
    expect(answers.flowTree.map(({ depth, id, state }: Answer) => [depth, id, state])).toEqual([
      [0, 'root', 'waiting-children'],
      [1, 'left', 'waiting-children'],
      [2, 'leaf', 'completed'],
      [1, 'right', 'completed'],
    ]);
    expect(answers.throughput.map(({ completed, failed }: Answer) => [completed, failed])).toEqual([
      [3, 0],
      [1, 3],
    ]);
    expect(answers.stuck.map(({ id, lockedBy, why }: Answer) => [id, lockedBy, why])).toEqual([
      ['forgotten', null, 'it has been waiting for over a day'],
      ['endless', 'worker-2', 'its handler has been running for over an hour'],
      ['overdue', null, 'it is due: no worker of this queue is there to promote it'],
      ['stalled', 'worker-1', 'its lease ran out: no worker of this queue is there to return it'],
    ]);
    expect(answers.retryFailed).toBe(3);
    expect(answers.deleteFinished).toBe(2);

    const { sql } = database;
    expect(
      await sql`select state, count(*)::int from conveyor_jobs where failed_reason like 'SMTP%' group by 1`,
    ).toEqual([]);
    expect(await sql`select id from conveyor_jobs where queue_name = 'old' order by id`).toEqual([
      { id: 'child' },
      { id: 'fresh' },
      { id: 'other name' },
    ]);
  });
});

// biome-ignore lint/suspicious/noExplicitAny: rows of ten different queries
type Answer = any;

/** A queue in the midst of its day. */
async function fill(sql: ReturnType<typeof useDatabase>['sql']): Promise<void> {
  const now = new Date();
  const ago = (ms: number) => new Date(now.getTime() - ms);
  const [minute, hour, day] = [60_000, 3_600_000, 86_400_000];
  const job = async (row: Record<string, unknown>) => {
    const full = {
      queue_name: 'mail',
      name: 'welcome',
      data: {},
      state: 'waiting',
      created_at: ago(5 * minute),
      ...row,
    };
    await sql`insert into conveyor_jobs ${sql(full as never)}`;
  };
  await sql`create table users (id int primary key, email text not null)`;
  await sql`insert into users values (1, 'ada@example.com'), (2, 'bob@example.com')`;

  await job({ id: 'w1', data: { userId: 1 } });
  await job({ id: 'w2', data: { userId: 2 }, created_at: ago(4 * minute) });
  await job({ id: 'w3', name: 'digest', data: { userId: 1, day: 'monday' }, created_at: ago(3 * minute) });
  await job({ id: 'forgotten', queue_name: 'other', created_at: ago(2 * day) });

  const failed = (id: string, failed_at: Date, failed_reason: string, more = {}) =>
    job({ id, state: 'failed', failed_at, failed_reason, attempts_made: 1, ...more });
  // Both ends of the same minute, whatever second it is now.
  const lately = new Date(Math.floor((now.getTime() - 20 * minute) / minute) * minute);
  await failed('f1', lately, 'SMTP 421 busy');
  await failed('f2', lately, 'SMTP 421 busy');
  await failed('f3', ago(3 * hour), 'SMTP 421 busy');
  await failed('f4', lately, 'no such user', { name: 'digest' });

  const completed = (id: string, completed_at: Date, ms: number, more = {}) =>
    job({ id, state: 'completed', completed_at, processed_at: new Date(completed_at.getTime() - ms), ...more });
  const since = new Date(lately.getTime() + 10 * minute);
  await completed('c1', since, 1_000, { name: 'digest' });
  await completed('c2', since, 2_000, { name: 'digest' });
  await completed('c3', since, 10_000, { name: 'digest' });
  await completed('c4', lately, 50);

  await job({
    id: 'retried',
    state: 'delayed',
    delay_until: new Date(now.getTime() + hour),
    attempts_made: 2,
    opts: { attempts: 5 },
    attempt_logs: sql.json([
      { attempt: 1, error: 'first' },
      { attempt: 2, error: 'SMTP 421 busy' },
    ] as never),
  });

  const tree = (id: string, parent_id: string | null, state: string) =>
    job({ id, queue_name: 'trees', name: 'node', parent_id, parent_queue_name: parent_id && 'trees', state });
  await tree('root', null, 'waiting-children');
  await tree('left', 'root', 'waiting-children');
  await tree('right', 'root', 'completed');
  await tree('leaf', 'left', 'completed');

  const active = (id: string, more: Record<string, unknown>) =>
    job({ id, queue_name: 'busy', state: 'active', ...more });
  await active('stalled', {
    locked_by: 'worker-1',
    lock_until: ago(hour),
    processed_at: ago(5 * minute),
    created_at: ago(hour),
  });
  await active('endless', {
    locked_by: 'worker-2',
    lock_until: new Date(now.getTime() + hour),
    processed_at: ago(2 * hour),
    created_at: ago(3 * hour),
  });
  await active('fine', {
    locked_by: 'worker-2',
    lock_until: new Date(now.getTime() + hour),
    processed_at: ago(minute),
  });
  await job({ id: 'overdue', queue_name: 'busy', state: 'delayed', delay_until: ago(hour), created_at: ago(2 * hour) });

  const old = (id: string, more = {}) =>
    job({ id, queue_name: 'old', state: 'completed', completed_at: ago(30 * day), created_at: ago(31 * day), ...more });
  await old('o1');
  await old('o2');
  await old('child', { parent_id: 'somebody', parent_queue_name: 'old' });
  await old('other name', { name: 'digest' });
  await old('fresh', { completed_at: ago(3 * day) });
}
