import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FlowProducer, InvalidPayloadError, JobObservable, Queue } from '../../src/index.js';
import { usePlayground } from '../support/playground.js';
import { countStatements, type Statements } from '../support/statements.js';

const play = usePlayground();
let queue: Queue;
let statements: Statements;

beforeAll(async () => {
  const store = await play.openForAll();
  queue = play.queue(store);
  statements = countStatements(store);
});
beforeEach(() => statements.reset());

const YEAR = 365.25 * 24 * 3_600_000;
const cycle: { self?: unknown } = {};
cycle.self = cycle;

/** Option, a bad value, and the error message. */
const BAD_OPTIONS: [string, unknown, RegExp][] = [
  ['attempts', 0, /opts.attempts is 0; .* from 1 to/],
  ['attempts', 1.5, /opts.attempts is 1.5/],
  ['attempts', '3', /opts.attempts is "3"/],
  ['backoff', 5, /opts.backoff is 5/],
  ['backoff', { type: 'linear', delay: 1 }, /opts.backoff.type is "linear".*'fixed', 'exponential', 'custom'/],
  ['backoff', { type: 'fixed' }, /opts.backoff.delay is undefined; the backoff delay must be/],
  ['backoff', { type: 'fixed', delay: -1 }, /opts.backoff.delay is -1; the backoff delay must be/],
  ['backoff', { type: 'fixed', delay: 1, jitter: 2 }, /opts.backoff.jitter is 2; it must be a number from 0 to 1/],
  ['backoff', { type: 'exponential', delay: 1, jitter: '0' }, /opts.backoff.jitter is "0"/],
  ['backoff', { type: 'custom', customStrategy: () => 1 }, /backoffStrategy/],
  ['delay', -1, /opts.delay is -1/],
  ['delay', Number.NaN, /opts.delay is NaN/],
  ['delay', 'in 5 minutes', /opts.delay is "in 5 minutes"/],
  ['delay', 'soon', /opts.delay is "soon".*'5s'/],
  ['delay', 101 * YEAR, /opts.delay/],
  ['repeat', {}, /opts.repeat/],
  ['repeat', { cron: 'never' }, /cron is "never"/],
  ['repeat', { cron: '0 0 30 2 *' }, /cron/],
  ['repeat', { cron: '* * * * *', every: 5 }, /opts.repeat/],
  ['repeat', { every: 'x' }, /opts.repeat.every/],
  ['repeat', { every: 1000, limit: -1 }, /opts.repeat.limit is -1/],
  ['repeat', { every: 1000, startDate: 'yesterday-ish' }, /opts.repeat.startDate/],
  ['repeat', { every: 1000, endDate: '2001-01-01' }, /opts.repeat/],
  ['repeat', { cron: '* * * * *', tz: 'Mars/Olympus' }, /opts.repeat.tz is "Mars\/Olympus"/],
  ['priority', 1.5, /opts.priority is 1.5/],
  ['priority', 2 ** 31, /opts.priority is 2147483648/],
  ['lifo', 'yes', /opts.lifo is "yes"/],
  ['deduplication', {}, /opts.deduplication has neither key nor hash.*Deduplication requires/],
  ['deduplication', { key: '' }, /opts.deduplication.key is ""/],
  ['deduplication', { key: 'k', ttl: 0 }, /opts.deduplication.ttl is 0/],
  ['removeOnComplete', 'yes', /opts.removeOnComplete is "yes"/],
  ['removeOnFail', -1, /opts.removeOnFail is -1/],
  ['timeout', 0, /opts.timeout is 0/],
  ['timeout', 2 ** 31, /opts.timeout is 2147483648/],
  ['jobId', '', /opts.jobId is ""/],
  ['jobId', 'x'.repeat(256), /opts.jobId.*1 to 255/],
  ['jobId', 'nul\0', /opts.jobId.*U\+0000/],
  ['failParentOnChildFailure', 'explode', /opts.failParentOnChildFailure is "explode"/],
  ['group', {}, /opts.group.id is undefined/],
  ['group', { id: 'g', maxSize: 0 }, /opts.group.maxSize is 0/],
  ['atempts', 3, /opts has no option "atempts". Did you mean attempts\?/],
];

describe('an option of a job', () => {
  it.each(BAD_OPTIONS)('%s: %j', async (option, value, message) => {
    const opts = { [option]: value };
    const adds: (() => Promise<unknown>)[] = [
      () => queue.add('work', null, opts),
      () => queue.addBulk([{ name: 'work', data: null, opts }]),
      () => queue.withTransaction({ execute: async () => [] }).add('work', null, opts),
    ];
    for (const add of adds) await expect(add()).rejects.toThrow(message);
    expect(statements.names).toEqual([]);
  });
});

describe('a payload', () => {
  it.each([
    ['data.n', { n: 1n }],
    ['data.f', { f: () => {} }],
    ['data.list[1]', { list: [1, Number.NaN] }],
    ['data.text', { text: 'nul\0' }],
    ['data.self', cycle],
    ['data.map', { map: new Map() }],
  ])('%s', async (path, data) => {
    const error = await queue.add('work', data).catch((e) => e);
    expect(error).toBeInstanceOf(InvalidPayloadError);
    expect(error.path).toBe(path);
    expect(statements.names).toEqual([]);
  });
});

describe('an argument', () => {
  const calls: [string, () => unknown, RegExp][] = [
    ['add name', () => queue.add('', null), /job name is ""/],
    ['add name type', () => queue.add(5 as never, null), /job name is 5/],
    ['add opts', () => queue.add('a', null, 'soon' as never), /opts is "soon"/],
    ['addBulk', () => queue.addBulk('x' as never), /addBulk\(\) takes an array/],
    ['addBulk item', () => queue.addBulk([null as never]), /addBulk\(\)\[0\] must be/],
    ['schedule', () => queue.schedule('in a while', 'a', null), /opts.delay is "in a while"/],
    ['every', () => queue.every('often', 'a', null), /opts.repeat.every is "often"/],
    ['cron', () => queue.cron('* *', 'a', null), /cron is "\* \*"/],
    ['clean state', () => queue.clean('done' as never, 0), /Invalid job state.*"done"/],
    ['clean grace', () => queue.clean('completed', -1), /grace is -1/],
    ['retryJobs', () => queue.retryJobs({ state: 'active' as never }), /state is "active"/],
    ['getJob', () => queue.getJob('' as never), /job id is ""/],
    ['getJobs state', () => queue.getJobs('x' as never), /job state is "x"/],
    ['getJobs start', () => queue.getJobs('waiting', -1), /start is -1/],
    ['count', () => queue.count('x' as never), /job state is "x"/],
    ['observe', () => queue.observe(7 as never), /job id is 7/],
    ['pause', () => queue.pause({ jobName: '' }), /jobName is ""/],
    ['pause option', () => queue.pause({ jobname: 'x' } as never), /no option "jobname"/],
    ['resume', () => queue.resume({ jobName: 5 as never }), /jobName is 5/],
    ['removeSchedule', () => queue.removeSchedule(''), /schedule key is ""/],
    ['withTransaction', () => queue.withTransaction({} as never), /takes the transaction/],
    ['obliterate', () => queue.obliterate({ forse: true } as never), /no option "forse"/],
  ];
  it.each(calls)('%s', async (_name, call, message) => {
    await expect((async () => call())()).rejects.toThrow(message);
    expect(statements.names).toEqual([]);
  });
});

describe('a constructor', () => {
  const store = { engine: { options: {} } } as never;
  it.each<[string, () => unknown, RegExp]>([
    ['queue name', () => new Queue('', { store }), /Invalid queue name.*""/],
    ['control characters', () => new Queue('a\nb', { store }), /control characters/],
    ['name too long', () => new Queue('x'.repeat(256), { store }), /1 to 255/],
    ['no options', () => new Queue('q', undefined as never), /options is undefined/],
    ['no store', () => new Queue('q', {} as never), /options.store must be a PgStore/],
    ['unknown option', () => new Queue('q', { store, defaultOptions: {} } as never), /no option "defaultOptions"/],
    ['default options', () => new Queue('q', { store, defaultJobOptions: { attempts: -1 } }), /opts.attempts is -1/],
    ['logger', () => new Queue('q', { store, logger: {} as never }), /logger/],
    ['schemas', () => new Queue('q', { store, schemas: 5 as never }), /schemas is 5/],
    [
      'a schema',
      () => new Queue('q', { store, schemas: { a: {} as never } }),
      /schemas\["a"\] is not a Standard Schema/,
    ],
    ['flow producer', () => new FlowProducer({} as never), /options.store must be a PgStore/],
    ['observable id', () => new JobObservable('', 'q', store), /job id is ""/],
    ['observable queue', () => new JobObservable('x', '', store), /queue name is ""/],
  ])('%s', (_name, make, message) => {
    expect(make).toThrow(message);
  });
});

describe('a method of Job', () => {
  it('refuses bad values before any SQL', async () => {
    const job = await queue.add('work', { n: 1 });
    const before = statements.names.length;
    const calls: [() => Promise<unknown>, RegExp][] = [
      [() => job.updateProgress(101), /updateProgress\(101\)/],
      [() => job.updateProgress(-0.1), /updateProgress/],
      [() => job.updateProgress(Number.NaN), /updateProgress\(NaN\)/],
      [() => job.updateProgress('5' as never), /updateProgress/],
      [() => job.updateData({ n: 1n } as never), /data.n/],
      [() => job.changeDelay('x'), /changeDelay is "x"/],
      [() => job.changePriority(0.5), /priority is 0.5/],
      [() => job.clearLogs(-1), /clearLogs keep is -1/],
      [() => job.moveToDelayed(Number.NaN), /moveToDelayed\(NaN\)/],
      [() => job.moveToDelayed(new Date('x')), /moveToDelayed/],
      [() => job.waitUntilFinished('x'), /waitUntilFinished ttl is "x"/],
      [() => job.completeIn({ execute: async () => [] }), /running handler/],
    ];
    for (const [call, message] of calls) await expect(call(), String(call)).rejects.toThrow(message);
    await expect(job.updateProgress(101)).rejects.toBeInstanceOf(RangeError);
    await expect(job.updateData({ n: 1n } as never)).rejects.toBeInstanceOf(InvalidPayloadError);
    expect(statements.names.slice(before).filter((name) => name !== 'notify')).toEqual([]);
  });
});
