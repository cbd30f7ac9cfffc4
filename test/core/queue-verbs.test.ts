import { expect, it } from 'vitest';
import { ConveyorError } from '../../src/index.js';
import { record, usePlayground } from '../support/playground.js';
import { deferred, until } from '../support/until.js';

const play = usePlayground();
const many = (count: number, name = 'work') => Array.from({ length: count }, (_, data) => ({ name, data }));

it('pause and resume: of the whole queue, and of one job name', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const heard: unknown[] = [];
  queue.events.on('paused', (event) => void heard.push(['paused', event.jobName]));
  queue.events.on('resumed', (event) => void heard.push(['resumed', event.jobName]));
  const ran: string[] = [];
  play.worker(queue, store, async (job) => void ran.push(job.name));
  await queue.pause({ jobName: 'a' });
  await queue.addBulk([...many(2, 'a'), ...many(2, 'b')]);
  await until(() => ran.length === 2);
  expect(ran).toEqual(['b', 'b']);
  await queue.pause();
  await queue.resume({ jobName: 'a' });
  await queue.add('b', null);
  expect(await queue.count('waiting')).toBe(3);
  await queue.resume();
  await until(() => ran.length === 5);
  expect(heard).toEqual([
    ['paused', 'a'],
    ['paused', undefined],
    ['resumed', 'a'],
    ['resumed', undefined],
  ]);
});

it('paused while jobs run: those go on, and no other starts', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const worker = play.worker(queue, store, () => release.promise);
  const heard = record(worker);
  await queue.addBulk(many(5));
  await until(() => heard.active.length === 1);
  await queue.pause();
  release.resolve();
  await until(() => heard.completed.length === 1);
  expect(await queue.getJobCounts()).toMatchObject({ waiting: 4, completed: 1, active: 0 });
});

it('counts and lists by state', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const jobs = await queue.addBulk(many(5));
  await queue.schedule(60_000, 'later', null);
  await jobs[0]?.moveToFailed('x');
  expect(await queue.getJobCounts()).toEqual({
    ...{ waiting: 4, 'waiting-children': 0, delayed: 1, active: 0, completed: 0, failed: 1 },
  });
  expect(await queue.count('waiting')).toBe(4);
  expect((await queue.getJobs('waiting')).map(({ data }) => data)).toEqual([1, 2, 3, 4]);
  expect((await queue.getJobs('waiting', 1, 3)).map(({ data }) => data)).toEqual([2, 3]);
  expect((await queue.getJobs('failed'))[0]?.failedReason).toBe('x');
  expect(await queue.getJob('no such job')).toBeNull();
});

it('drain, clean, retryJobs, promoteJobs and obliterate', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let drained = 0;
  queue.events.on('drained', () => drained++);
  const jobs = await queue.addBulk(many(3));
  for (const job of jobs) await job.moveToFailed('x');
  expect(await queue.clean('failed', 60_000)).toBe(0);
  expect(await queue.retryJobs()).toBe(3);
  await queue.schedule(60_000, 'later', null);
  expect(await queue.promoteJobs()).toBe(1);
  expect(await queue.count('waiting')).toBe(4);
  await queue.drain();
  expect([await queue.count('waiting'), drained]).toEqual([0, 1]);
  await (await queue.add('work', null)).moveToFailed('x');
  expect(await queue.clean('failed', 0)).toBe(1);
  await queue.addBulk(many(3));
  await queue.obliterate();
  expect(Object.values(await queue.getJobCounts()).every((count) => count === 0)).toBe(true);
});

it('retryJobs starts completed jobs over when it is told to', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  let runs = 0;
  play.worker(queue, store, () => ++runs);
  const job = await queue.add('work', null);
  expect(await job.waitUntilFinished()).toBe(1);
  expect([await queue.retryJobs(), await queue.retryJobs({ state: 'completed' })]).toEqual([0, 1]);
  await until(async () => (await queue.getJob(job.id))?.returnvalue === 2);
});

it('obliterate is refused while jobs are active, and forced their workers lose them', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const release = deferred();
  const heard = record(play.worker(queue, store, () => release.promise));
  await queue.add('work', null);
  await until(() => heard.active.length === 1);
  await expect(queue.obliterate()).rejects.toBeInstanceOf(ConveyorError);
  await queue.obliterate({ force: true });
  release.resolve();
  await until(() => heard.errors.length === 1);
  expect(heard).toMatchObject({ completed: [], errors: [{ code: 'LEASE_LOST' }] });
});

it('repeating schedules are listed and removed by their key', async () => {
  const store = await play.open();
  const queue = play.queue(store);
  await queue.every('1 hour', 'tick', { n: 1 }, { repeat: { key: 'mine' } });
  await queue.every('1 hour', 'tick', { n: 1 }, { repeat: { key: 'mine' } });
  await queue.cron('0 9 * * *', 'digest', null, { repeat: { tz: 'Europe/Berlin' } });
  const schedules = await queue.getSchedules();
  expect(schedules).toHaveLength(2);
  expect(schedules[0]).toMatchObject({ key: 'mine', jobName: 'tick' });
  expect(await queue.removeSchedule('mine')).toBe(true);
  expect(await queue.removeSchedule('mine')).toBe(false);
});
