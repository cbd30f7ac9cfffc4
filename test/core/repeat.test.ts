import { afterEach, describe, expect, it, vi } from 'vitest';
import { GroupFullError, type JobOptions, type PgStore, Queue } from '../../src/index.js';
import { tickSchedules } from '../../src/store/schedules/list.js';
import { usePlayground } from '../support/playground.js';
import { onStatements } from '../support/statements.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();

async function runs(queue: Queue): Promise<number[]> {
  const rows = await play.database.sql`select coalesce(delay_until, processed_at, created_at) as at from conveyor_jobs
    where queue_name = ${queue.name} and state in ('completed', 'failed') order by processed_at`;
  return rows.map(({ at }) => (at as Date).getTime());
}

const schedules = (queue: Queue) =>
  play.database.sql`select * from conveyor_schedules where queue_name = ${queue.name}`;

/** How many ticks of the queue's schedule have passed since `from`. */
async function ticksSince(queue: Queue, from: Date | null | undefined, every: number): Promise<number> {
  const [schedule] = await queue.getSchedules();
  return (Number(schedule?.tickAt) - Number(from)) / every;
}

/** As if all of this had been registered so many ms earlier. */
async function age(queue: Queue, ms: number): Promise<void> {
  const by = `${ms} milliseconds`;
  await play.database.sql`update conveyor_schedules set tick_at = tick_at - ${by}::interval,
    anchor_at = anchor_at - ${by}::interval where queue_name = ${queue.name}`;
  await play.database.sql`update conveyor_jobs set delay_until = delay_until - ${by}::interval
    where queue_name = ${queue.name} and state = 'delayed'`;
}

async function workers(queue: Queue, stores: PgStore[], run = async () => {}) {
  for (const store of stores) play.worker(queue, store, run);
}

describe('every', () => {
  it('runs at once and then each interval, once per tick under many workers', async () => {
    const stores = await Promise.all([play.open(), play.open(), play.open()]);
    const queue = play.queue(stores[0] as PgStore);
    await workers(queue, stores);
    const job = await queue.every('200ms', 'tick', { some: 'data' });
    expect(job.state).toBe('waiting');
    await until(async () => (await runs(queue)).length >= 5);
    const [schedule] = await schedules(queue);
    const anchor = new Date(schedule?.['anchor_at']).getTime();
    const ticks = await play.database.sql`select (extract(epoch from created_at) * 1000)::float8 as created, opts
      from conveyor_jobs where queue_name = ${queue.name} order by seq`;
    expect(new Set(ticks.map(({ created }) => created)).size).toBe(ticks.length);
    expect(ticks.length).toBeLessThanOrEqual((new Date(schedule?.['tick_at']).getTime() - anchor) / 200 + 2);
    const due = await play.database.sql`select (extract(epoch from delay_until) * 1000)::float8 as at from conveyor_jobs
      where queue_name = ${queue.name} and state = 'delayed'`;
    // Ticks lie on the schedule's own grid, however long a handler took.
    for (const { at } of due) expect((Math.round(at as number) - anchor) % 200).toBe(0);
  });

  it.each(['before', 'after'])(
    'a process that dies %s it advances the schedule neither ends nor doubles it',
    async (when) => {
      const [doomed, other] = [await play.open(), await play.open()];
      const queue = play.queue(other);
      let died = 0;
      onStatements(doomed, async (name, run) => {
        if (name !== 'advance schedule') return run();
        if (when === 'after') await run();
        died++;
        return new Promise(() => {});
      });
      await workers(queue, [doomed]);
      await queue.every(150, 'tick', null, { repeat: { limit: 4 } });
      await until(() => died > 0);
      await workers(queue, [other]);
      await until(async () => (await schedules(queue))[0]?.['tick_at'] === null);
      await until(async () => (await queue.getJobCounts()).completed === 5);
      expect(await queue.getJobCounts()).toMatchObject({ waiting: 0, delayed: 0, active: 0, completed: 5 });
    },
  );

  it('goes on when a run fails, when the queue is drained, and counts `limit` after the first run', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    let ran = 0;
    await workers(queue, [store], async () => {
      ran++;
      throw new Error('every run fails');
    });
    await queue.every(100, 'tick', null, { repeat: { limit: 3 } });
    await until(() => ran >= 2);
    await queue.drain();
    await until(async () => ((await schedules(queue))[0]?.['runs_left'] ?? -1) === 0);
    await until(async () => {
      const counts = await queue.getJobCounts();
      return counts.waiting + counts.delayed + counts.active === 0;
    });
    // One of the four may have been drained before it ran; there was never a fifth.
    expect(ran).toBeLessThanOrEqual(4);
    expect(ran).toBeGreaterThanOrEqual(3);
  });

  it('waits for startDate', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const startDate = new Date(Date.now() + 60_000);
    const job = await queue.every('1m', 'tick', null, { repeat: { startDate } });
    expect(job.state).toBe('delayed');
    expect(job.delayUntil?.getTime()).toBe(startDate.getTime());
  });

  it('makes no tick after endDate', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await workers(queue, [store]);
    await queue.every(100, 'tick', null, { repeat: { endDate: new Date(Date.now() + 250) } });
    await until(async () => (await schedules(queue))[0]?.['tick_at'] === null);
    await until(async () => {
      const counts = await queue.getJobCounts();
      return counts.waiting + counts.delayed + counts.active === 0;
    });
    // At 0, 100 and 200 ms; a slow machine may miss the later ones.
    const { completed } = await queue.getJobCounts();
    expect(completed).toBeLessThanOrEqual(3);
    expect(completed).toBeGreaterThanOrEqual(1);
  });

  it('catches up with one run for all the ticks that were missed', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.every('1h', 'tick', null);
    const first = await queue.getJobs('waiting');
    await first[0]?.remove();
    await age(queue, 10 * 3_600_000 + 60_000);
    await workers(queue, [store]);
    // What was due is overdue by ten ticks: the next one lies ahead, and between them there is at most one run.
    await until(async () => ((await schedules(queue))[0]?.['tick_at'] as Date)?.getTime() > Date.now());
    const counts = await queue.getJobCounts();
    expect(counts.delayed).toBe(1);
    expect(counts.completed + counts.waiting + counts.active).toBeLessThanOrEqual(1);
  });
});

describe('ticks while earlier jobs have not ended', () => {
  it.each([
    ['the queue', {}],
    ['their name', { jobName: 'tick' }],
  ])('are passed over while %s is paused: afterwards there is one run, and then one per tick', async (_, paused) => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.pause(paused);
    await workers(queue, [store]);
    await queue.every(50, 'tick', null);
    const from = (await queue.getSchedules())[0]?.tickAt;
    await until(async () => (await ticksSince(queue, from, 50)) >= 10);
    expect(await queue.getJobCounts()).toMatchObject({ waiting: 1, delayed: 1, active: 0 });
    await queue.resume(paused);
    await until(async () => (await queue.count('completed')) >= 4);
  });

  it('are passed over while a handler runs', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const release = deferred();
    let ran = 0;
    await workers(queue, [store], async () => {
      ran++;
      await release.promise;
    });
    await queue.every(50, 'tick', null);
    await until(() => ran === 1);
    const from = (await queue.getSchedules())[0]?.tickAt;
    await until(async () => (await ticksSince(queue, from, 50)) >= 5);
    expect(await queue.getJobCounts()).toMatchObject({ waiting: 0, delayed: 1, active: 1 });
    release.resolve();
    await until(() => ran >= 4);
  });

  it('are passed over while a failed job waits for its next attempt', async () => {
    const stores = await Promise.all([play.open(), play.open()]);
    const queue = play.queue(stores[0] as PgStore);
    const attempts: string[] = [];
    for (const store of stores) {
      play.worker(queue, store, async (job) => {
        attempts.push(job.id);
        throw new Error('on purpose');
      });
    }
    await queue.every(30, 'tick', null, { attempts: 3, backoff: { type: 'fixed', delay: 100 } });
    await until(() => new Set(attempts).size >= 4);
    // Each job had all of its attempts before the next one had its first.
    const order = [...new Set(attempts)].flatMap((id) => [id, id, id]);
    expect(attempts).toEqual(order.slice(0, attempts.length));
  });

  it.each(['queue', 'all'] as const)('pile up behind one that runs as overlap %s allows', async (overlap) => {
    const store = await play.open();
    const queue = play.queue(store);
    const release = deferred();
    await workers(queue, [store], () => release.promise);
    await queue.every(50, 'tick', null, { repeat: { overlap } });
    const from = (await queue.getSchedules())[0]?.tickAt;
    if (overlap === 'all') await until(async () => (await queue.count('waiting')) >= 5);
    else await until(async () => (await ticksSince(queue, from, 50)) >= 8);
    const { waiting, active } = await queue.getJobCounts();
    expect(active).toBe(1);
    if (overlap === 'queue') expect(waiting).toBe(1);
    release.resolve();
  });
});

describe('options of its jobs', () => {
  const deduplication = { key: 'report' };

  it.each(['of the call', 'by default'])('deduplication %s does not take its tick from a job', async (from) => {
    const store = await play.open();
    const byDefault = from === 'by default';
    const queue = play.queue(store, byDefault ? { defaultJobOptions: { deduplication } } : {});
    const job = await queue.every('1h', 'report', null, byDefault ? {} : { deduplication });
    expect(job.deduplicationKey).toBeNull();
    expect(job.opts).toEqual({ repeat: { every: '1h' } });
    await tickSchedules(store.engine, queue.name);
    expect(await queue.getJobCounts()).toMatchObject({ waiting: 1, delayed: 1 });
    // Other jobs have the key as ever.
    const other = await queue.add('report', null, { deduplication });
    expect(other.id).not.toBe(job.id);
    expect((await queue.add('report', null, { deduplication })).id).toBe(other.id);
  });

  it("a group's maxSize refuses no tick, and counts the schedule's jobs", async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const group = { id: 'g', maxSize: 1 };
    await queue.add('other', null, { group });
    const job = await queue.every('1h', 'report', null, { group });
    expect(job.opts.group).toEqual({ id: 'g' });
    await tickSchedules(store.engine, queue.name);
    expect(await queue.getJobCounts()).toMatchObject({ waiting: 2, delayed: 1 });
    await expect(queue.add('other', null, { group: { id: 'g', maxSize: 3 } })).rejects.toThrow(GroupFullError);
  });

  it('priority, lifo, attempts, backoff, timeout and retention are those of each job', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const options: JobOptions = {
      priority: 7,
      lifo: true,
      attempts: 4,
      backoff: { type: 'fixed', delay: 5 },
      timeout: 50,
      removeOnComplete: true,
      removeOnFail: 1000,
      failParentOnChildFailure: 'ignore',
    };
    await queue.every('1h', 'report', null, options);
    await tickSchedules(store.engine, queue.name);
    const both = await play.database.sql`select opts, priority, seq < 0 as lifo from conveyor_jobs
      where queue_name = ${queue.name}`;
    expect([...both]).toEqual(
      Array(2).fill({ opts: { ...options, repeat: { every: '1h' } }, priority: 7, lifo: true }),
    );
  });

  it('delay is refused, and left out of default options', async () => {
    const store = await play.open();
    await expect(play.queue(store).every('1h', 'report', null, { delay: 5 })).rejects.toThrow(/repeat\.startDate/);
    const queue = play.queue(store, { defaultJobOptions: { delay: '1h' } });
    expect((await queue.every('1h', 'report', null)).state).toBe('waiting');
  });
});

describe('removed and registered again', () => {
  it('at each of 20 starts, a schedule has one job for its tick', async () => {
    const queue = play.queue(await play.open());
    const events: string[] = [];
    const observer = await play.open();
    observer.subscribe(queue.name, ({ type, jobId }) => type === 'job:removed' && events.push(jobId as string));
    const ids: string[] = [];
    for (let start = 0; start < 20; start++) {
      const store = await play.open();
      const own = new Queue(queue.name, { store });
      await own.removeSchedule('nightly');
      ids.push((await own.cron('0 3 * * *', 'report', null, { repeat: { key: 'nightly' } })).id);
      await store.disconnect();
    }
    expect(await schedules(queue)).toHaveLength(1);
    expect(await queue.getJobCounts()).toMatchObject({ delayed: 1, waiting: 0 });
    await until(() => events.length === 19);
    expect(events).toEqual(ids.slice(0, -1));
  });

  it('what an older version left behind is adopted, and its worker is woken', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const left = await queue.cron('0 0 1 1 *', 'report', 'old', { repeat: { key: 'k' } });
    await play.database.sql`delete from conveyor_schedules where queue_name = ${queue.name}`;
    const ran: unknown[] = [];
    play.worker(queue, store, async (job) => void ran.push([job.id, job.data]));
    const job = await queue.every('1h', 'report', 'new', { repeat: { key: 'k' } });
    expect(job.id).toBe(left.id);
    await until(() => ran.length > 0);
    expect(ran).toEqual([[left.id, 'new']]);
  });
});

describe('startDate and endDate', () => {
  const startDate = new Date('2099-01-01T00:00:00Z');
  const endDate = new Date('2099-06-01T00:00:00Z');
  const window = { startDate, endDate };

  it('come back as dates wherever a job is read', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.every('1h', 'tick', null, {
      repeat: { startDate: startDate.toISOString(), endDate: endDate.getTime() },
    });
    expect(job.opts.repeat).toMatchObject(window);
    expect((await queue.getJob(job.id))?.opts.repeat).toMatchObject(window);
    expect((await queue.getJobs('delayed'))[0]?.opts.repeat).toMatchObject(window);
    expect((await queue.getSchedules())[0]).toMatchObject({ startAt: startDate, opts: { repeat: window } });
    expect((await store.getJob(queue.name, job.id))?.opts.repeat).toMatchObject(window);
    await job.updateData('new');
    expect(job.opts.repeat).toMatchObject(window);
    await store.updateJob(queue.name, job.id, { opts: job.opts });
    expect((await store.getJob(queue.name, job.id))?.opts.repeat).toMatchObject(window);
    const again = await queue.every('1h', 'tick', null, { repeat: window });
    expect(again.id).toBe(job.id);
    expect(again.opts.repeat).toMatchObject(window);

    await job.promote();
    const handled: unknown[] = [];
    play.worker(queue, store, async (claimed) => void handled.push(claimed.opts.repeat));
    await until(() => handled.length > 0);
    expect(handled[0]).toMatchObject(window);
  });

  it('the job of a later tick has them, too', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.every('1h', 'tick', null, { repeat: { endDate } });
    await tickSchedules(store.engine, queue.name);
    expect((await queue.getJobs('delayed'))[0]?.opts.repeat).toEqual({ every: '1h', endDate });
    const [row] = await play.database.sql`select opts from conveyor_jobs where state = 'delayed'
      and queue_name = ${queue.name}`;
    expect(row?.['opts']).toEqual({ repeat: { every: '1h', endDate: endDate.toISOString() } });
  });
});

describe('the same schedule', () => {
  it('registered again by each deploy is one schedule and one job', async () => {
    const stores = await Promise.all([play.open(), play.open()]);
    const queue = play.queue(stores[0] as PgStore);
    const jobs = await Promise.all(
      Array.from({ length: 20 }, () =>
        queue.cron('0 3 * * *', 'nightly', { a: 1, b: 2 }, { repeat: { tz: 'Europe/Rome' } }),
      ),
    );
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(1);
    await queue.cron('0 3 * * *', 'nightly', { b: 2, a: 1 }, { repeat: { tz: 'Europe/Rome' } });
    expect(await schedules(queue)).toHaveLength(1);
    expect((await queue.getJobCounts()).delayed).toBe(1);
  });

  it('is another one for other data, another name, another expression or another key', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    await queue.cron('0 3 * * *', 'nightly', 1);
    await queue.cron('0 3 * * *', 'nightly', 2);
    await queue.cron('0 3 * * *', 'other', 1);
    await queue.cron('0 4 * * *', 'nightly', 1);
    await queue.cron('0 3 * * *', 'nightly', 1, { repeat: { key: 'mine' } });
    expect(await schedules(queue)).toHaveLength(5);
    expect((await queue.getSchedules()).map(({ key }) => key)).toContain('mine');
    expect(await queue.removeSchedule('mine')).toBe(true);
    expect(await queue.removeSchedule('mine')).toBe(false);
    expect(await schedules(queue)).toHaveLength(4);
  });
});

describe('cron', () => {
  it('does not run at registration: its first job is delayed until its tick', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    const job = await queue.cron('0 0 1 1 *', 'yearly', null);
    expect(job.state).toBe('delayed');
    expect(job.delayUntil?.getTime()).toBe(Date.UTC(new Date().getUTCFullYear() + 1, 0, 1));
  });

  it('fires at its ticks, each once', async () => {
    const stores = await Promise.all([play.open(), play.open()]);
    const queue = play.queue(stores[0] as PgStore);
    await workers(queue, stores);
    await queue.cron('* * * * * *', 'secondly', null);
    await until(async () => (await queue.getJobCounts()).completed >= 2);
    const rows = await play.database.sql`select processed_at from conveyor_jobs
      where queue_name = ${queue.name} and state = 'completed' order by processed_at`;
    const seconds = rows.map(({ processed_at }) => Math.floor((processed_at as Date).getTime() / 1000));
    expect(new Set(seconds).size).toBe(seconds.length);
  });

  it.each(['', 'x', '99 * * * *', '* * * *', '0 0 30 2 *'])('refuses %j before any SQL', async (expression) => {
    const store = await play.open();
    const queue = play.queue(store);
    await expect(queue.cron(expression, 'bad', null)).rejects.toThrow(RangeError);
    expect(await schedules(queue)).toHaveLength(0);
  });
});

describe.each([
  ['a day fast', 86_400_000],
  ['a day slow', -86_400_000],
])('the window of a schedule, registered by a process whose clock is %s', (_, off) => {
  afterEach(() => void vi.useRealTimers());
  const HOUR = 3_600_000;

  it.each([
    ['every', { every: '10m' }],
    ['cron', { cron: '* * * * *' }],
  ])('%s: is judged by the clock of the database', async (_, repeat) => {
    const store = await play.open();
    const queue = play.queue(store);
    const now = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: now + off });
    const add = (start: number | undefined, end: number, key: string) =>
      queue.add('tick', null, { repeat: { ...repeat, key, endDate: end, ...(start && { startDate: start }) } });
    const open = await add(now - HOUR, now + HOUR, 'open');
    expect(open.state).toBe('every' in repeat ? 'waiting' : 'delayed');
    const later = await add(now + HOUR, now + 2 * HOUR, 'later');
    expect(later.state).toBe('delayed');
    expect(Number(later.delayUntil) - now - HOUR).toBeLessThanOrEqual(60_000);
    await expect(add(undefined, now - HOUR, 'over')).rejects.toThrow(
      /never fires.*no tick after 20.*by the database's clock/,
    );
    expect((await queue.getSchedules()).map(({ key }) => key)).toEqual(['open', 'later']);
  });
});

describe.each([
  ['an hour fast', 3_600_000],
  ['an hour slow', -3_600_000],
])('registered by a process whose clock is %s', (_, off) => {
  afterEach(() => void vi.useRealTimers());

  it.each([
    ['every', { every: 100 }],
    ['cron', { cron: '* * * * * *' }],
  ])('%s ticks by the clock of the database', async (_, repeat) => {
    const store = await play.open();
    const queue = play.queue(store);
    await workers(queue, [store]);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + off });
    await queue.add('tick', null, { repeat });
    vi.useRealTimers();
    await until(async () => (await queue.getJobCounts()).completed >= 2);
    const [schedule] = await schedules(queue);
    expect(Math.abs(Number(schedule?.['anchor_at']) - Date.now())).toBeLessThan(60_000);
  });

  it('the life of a deduplication key counts by the clock of the database', async () => {
    const store = await play.open();
    const queue = play.queue(store);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + off });
    const add = () => queue.add('work', null, { deduplication: { key: 'k', ttl: 600_000 } });
    const first = await add();
    expect((await add()).id).toBe(first.id);
    await play.database.sql`update conveyor_jobs set created_at = created_at - interval '11 minutes'
      where id = ${first.id}`;
    expect((await add()).id).not.toBe(first.id);
  });
});
