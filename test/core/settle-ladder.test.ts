import { afterEach, describe, expect, it, vi } from 'vitest';
import { PgStore, Queue, Worker } from '../../src/index.js';
import { record, rowOf, usePlayground } from '../support/playground.js';
import { until } from '../support/until.js';

// The pauses between the tries add up to seconds.
vi.mock('node:timers/promises', async (load) => {
  const timers = await load<typeof import('node:timers/promises')>();
  const setTimeout = (ms: number, value: unknown, options: object) =>
    timers.setTimeout(Math.min(ms, 20), value, options);
  return { ...timers, setTimeout };
});

const play = usePlayground();

/** The server refuses to end a job so many times, with this SQLSTATE. */
async function refuse(sqlstate: string, times: number, when = 'true'): Promise<void> {
  const { sql } = play.database;
  await sql.unsafe(`
    create sequence refusals;
    create function refuse() returns trigger language plpgsql as $$ begin
      if old.state = 'active' and (${when}) and nextval('refusals') <= ${times} then
        raise exception 'refused on purpose' using errcode = '${sqlstate}';
      end if;
      return new;
    end $$;
    create trigger refuse before update on conveyor_jobs for each row execute function refuse()`);
}

afterEach(async () => {
  await play.database.sql.unsafe('drop function if exists refuse cascade; drop sequence if exists refusals');
});

describe('trouble that passes', () => {
  it.each(['25006', '40001', '40P01', '53100', '53200', '53300', '55006', '57014', '57P03', '58030'])(
    '%s: the whole end is written, however often it is refused, and the job runs once',
    async (sqlstate) => {
      const store = await play.open();
      const queue = play.queue(store);
      await refuse(sqlstate, 12);
      let runs = 0;
      const heard = record(
        play.worker(queue, store, () => {
          runs++;
          return 'done';
        }),
      );
      const job = await queue.add('work', null);
      expect(await job.waitUntilFinished()).toBe('done');
      expect([runs, heard.errors]).toEqual([1, []]);
      expect(await rowOf(play, job)).toMatchObject({ state: 'completed', stalled_count: 0 });
    },
  );
});

describe('a refusal for what is written', () => {
  it.each(['22001', '22P05', '23514', '54000', 'P0001', 'XX000'])(
    '%s: the outcome is written without what was refused, and the job runs once',
    async (sqlstate) => {
      const store = await play.open();
      const queue = play.queue(store);
      await refuse(sqlstate, 1_000, 'new.returnvalue is not null');
      let runs = 0;
      const heard = record(
        play.worker(queue, store, () => {
          runs++;
          return 'refused';
        }),
      );
      const job = await queue.add('work', null);
      await until(() => heard.completed.length === 1);
      expect(runs).toBe(1);
      expect(await rowOf(play, job)).toMatchObject({ state: 'completed', returnvalue: null });
      expect(heard.errors).toEqual([expect.objectContaining({ code: 'SETTLED_PARTLY' })]);
    },
  );

  it('a failure is written down like a success, and its retry follows', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await refuse('22P05', 1_000, `new.failed_reason like '%poison%'`);
    let runs = 0;
    const worker = play.worker(queue, store, () => {
      if (runs++ === 0) throw new Error('poison');
      return 'second';
    });
    record(worker);
    const job = await queue.add('work', null, { attempts: 2 });
    expect(await job.waitUntilFinished()).toBe('second');
    expect(await rowOf(play, job)).toMatchObject({ attempts_made: 1, stalled_count: 0 });
  });

  it('of the bare outcome keeps the job with its worker until it is taken', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await refuse('P0001', 30);
    let runs = 0;
    const heard = record(play.worker(queue, store, () => runs++, { lockDuration: 300, stalledInterval: 50 }));
    const job = await queue.add('work', null);
    await until(() => heard.completed.length === 1);
    expect(runs).toBe(1);
    expect(await rowOf(play, job)).toMatchObject({ state: 'completed', stalled_count: 0 });
  });
});

describe('secondary effects that are refused', () => {
  it('a job that cannot be deleted, for a row of the app names it, is completed and kept', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const { sql } = play.database;
    await sql`create table orders (job_id text, queue_name text,
      foreign key (job_id, queue_name) references conveyor_jobs (id, queue_name))`;
    const heard = record(
      play.worker(queue, store, async ({ id, queueName }) => {
        await sql`insert into orders values (${id}, ${queueName})`;
        return 'paid';
      }),
    );
    const job = await queue.add('work', null, { removeOnComplete: true });
    expect(await job.waitUntilFinished()).toBe('paid');
    await until(() => heard.completed.length === 1);
    expect(await rowOf(play, job)).toMatchObject({ state: 'completed', returnvalue: 'paid' });
    expect((await rowOf(play, job))?.['remove_at']).not.toBeNull();
    await sql`drop table orders`;
  });

  it('a sequence of the metrics that a restore left behind costs no job', async () => {
    const store = await play.open({ metrics: { enabled: true } });
    const queue = play.queue(store);
    const { sql } = play.database;
    const heard = record(play.worker(queue, store, () => 'done'));
    await (await queue.add('work', null)).waitUntilFinished();
    await sql`update conveyor_metrics set period_start = period_start - interval '1 day'`;
    await sql`select setval('conveyor_metrics_id_seq', 1, false)`;
    const job = await queue.add('work', null);
    expect(await job.waitUntilFinished()).toBe('done');
    await until(() => heard.completed.length === 2);
    expect(await rowOf(play, job)).toMatchObject({ state: 'completed', returnvalue: 'done', stalled_count: 0 });
  });
});

it('a database in LATIN1 keeps results and errors, without the characters that it does not have', async () => {
  const { sql, url } = play.database;
  const name = `latin1_${process.pid}`;
  await sql.unsafe(`create database ${name} encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0`);
  const connection = new URL(url);
  connection.pathname = `/${name}`;
  const store = new PgStore({ connection: connection.href, logger: { debug() {}, info() {}, warn() {}, error() {} } });
  await store.connect();
  const queue = new Queue('letters', { store });
  const worker = new Worker(
    'letters',
    async ({ name: kind }) => {
      if (kind === 'fails') throw new Error('kostet 5 € für 😀');
      return 'é € 😀';
    },
    { store },
  );
  worker.on('error', () => {});
  try {
    const job = await queue.add('works', null);
    expect(await job.waitUntilFinished()).toBe('é ? ?');
    const failing = await queue.add('fails', null);
    await expect(failing.waitUntilFinished()).rejects.toThrow('kostet 5 ? für ?');
    expect(await queue.getJob(failing.id)).toMatchObject({ state: 'failed', failedReason: 'kostet 5 ? für ?' });
  } finally {
    await worker.close();
    await queue.close();
    await store.disconnect();
    await sql.unsafe(`drop database ${name}`);
  }
});
