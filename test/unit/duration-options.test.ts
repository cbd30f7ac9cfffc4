import { expect, it } from 'vitest';
import { resolveWorkerOptions } from '../../src/core/worker/worker-options.js';
import { closeOnSignals, type Duration, PgStore, Queue, Worker } from '../../src/index.js';
import { inMilliseconds, resolveJobOptions } from '../../src/model/options/job-options.js';
import { calculateBackoff } from '../../src/model/retry.js';
import { scheduleOf } from '../../src/model/schedule/schedule.js';
import { resolveLimits } from '../../src/store/claim/limits.js';
import { resolveOptions } from '../../src/store/runtime/options.js';

/** Never connected: a call that gets as far as needing the database has taken its duration. */
const connection = 'postgres://nobody@127.0.0.1:1/none';
const store = new PgStore({ connection });
const queue = new Queue('q', { store });

const job = (opts: object) => resolveJobOptions(opts).options;
const worker = (options: object) => resolveWorkerOptions({ store, ...options });
const ofStore = (options: object) => resolveOptions({ connection, ...options });

type Read = (value: Duration) => unknown;

/** Every option that is a time and is kept as a number: its name in errors, what becomes of a value, its unit in ms. */
const OPTIONS: [name: string, read: Read, unit?: number][] = [
  ['opts.timeout', (timeout) => job({ timeout }).timeout],
  ['opts.deduplication.ttl', (ttl) => job({ deduplication: { key: 'k', ttl } }).deduplication?.ttl],
  ['opts.removeOnComplete', (removeOnComplete) => job({ removeOnComplete }).removeOnComplete],
  ['opts.removeOnFail', (removeOnFail) => job({ removeOnFail }).removeOnFail],
  ['opts.removeOnComplete.age', (age) => (job({ removeOnComplete: { age } }).removeOnComplete as { age: number }).age],
  ['opts.removeOnFail.age', (age) => (job({ removeOnFail: { age, count: 3 } }).removeOnFail as { age: number }).age],
  ['opts.delay', (delay) => resolveJobOptions({ delay }).delayMs],
  ['opts.backoff.delay', (delay) => calculateBackoff(1, job({ backoff: { type: 'fixed', delay } }).backoff, () => 0.5)],
  ['opts.repeat.every', (every) => scheduleOf(job({ repeat: { every } }).repeat as object).everyMs],
  ['limiter.duration', (duration) => worker({ limiter: { max: 1, duration } }).limiter?.duration],
  [
    'group.limiter.duration',
    (duration) => worker({ group: { limiter: { max: 1, duration } } }).group?.limiter?.duration,
  ],
  ['lockDuration', (lockDuration) => worker({ lockDuration }).lockDuration],
  ['timeoutGrace', (timeoutGrace) => worker({ timeoutGrace }).timeoutGrace],
  ['stalledInterval', (stalledInterval) => worker({ stalledInterval }).stalledInterval],
  ['rateLimit.duration', (duration) => resolveLimits({ rateLimit: { max: 1, duration } }).rateMs],
  ['statementTimeout', (statementTimeout) => ofStore({ statementTimeout }).statementTimeout],
  [
    'metrics.retentionMinutes',
    (retentionMinutes) => ofStore({ metrics: { retentionMinutes } }).metrics.retentionMinutes,
    60_000,
  ],
  [
    'metrics.retentionHours',
    (retentionHours) => ofStore({ metrics: { retentionHours } }).metrics.retentionHours,
    3_600_000,
  ],
];

it.each(OPTIONS)('%s takes a number and a text', (_name, read, unit = 1) => {
  expect(read(7_200)).toBe(7_200);
  expect(read('2h')).toBe(7_200_000 / unit);
  expect(read('120 minutes')).toBe(7_200_000 / unit);
});

it.each(OPTIONS)('%s refuses what is none, and says what it takes', (name, read) => {
  const message = new RegExp(
    `^${name.replaceAll('.', '\\.')} is "soon"; (it|the backoff delay) must be .*'10 minutes'`,
  );
  expect(() => read('soon')).toThrow(RangeError);
  expect(() => read('soon')).toThrow(message);
  expect(() => read('-5s')).toThrow(RangeError);
  expect(() => read(-1)).toThrow(RangeError);
  expect(() => read(Number.NaN)).toThrow(RangeError);
});

/** Arguments of calls: with a good value the call goes on to the database. */
const CALLS: [name: string, call: (value: Duration) => Promise<unknown>][] = [
  ['grace', (grace) => queue.clean('completed', grace)],
  ['lockDuration', (lock) => store.fetchNextJob('q', 'w', lock)],
  ['duration', (duration) => store.extendLock('q', 'id', duration)],
  ['opts.delay', (delay) => queue.schedule(delay, 'name', {})],
  ['opts.repeat.every', (every) => queue.every(every, 'name', {})],
];

it.each(CALLS)('the argument %s', async (name, call) => {
  await expect(call('2h')).rejects.toMatchObject({ code: 'NOT_CONNECTED' });
  await expect(call(5)).rejects.toMatchObject({ code: 'NOT_CONNECTED' });
  await expect(call('soon')).rejects.toThrow(new RegExp(`^${name.replaceAll('.', '\\.')} is "soon"; it must be`));
});

it('time limits of closing', async () => {
  const one = new Worker('q', () => {}, { store, autoStart: false });
  expect(() => one.close('soon')).toThrow(/^forceTimeout is "soon"; it must be/);
  await one.close('1s');
  expect(() => closeOnSignals(store, { timeout: 'soon' })).toThrow(/^timeout is "soon"; it must be/);
  closeOnSignals(store, { timeout: '5s' }).cancel();
});

it.each([
  [{ timeout: '0.1ms' }, /^opts\.timeout is "0\.1ms"; .* from 1 to 2147483647 ms/],
  [{ timeout: '25 days' }, /^opts\.timeout is "25 days"/],
  [{ timeout: 1.5 }, /^opts\.timeout is 1\.5/],
  [{ removeOnComplete: { count: -1 } }, /^opts\.removeOnComplete\.count is -1; .* from 0 to 1000000/],
  [{ removeOnComplete: { count: 2 ** 31 } }, /^opts\.removeOnComplete\.count/],
])('bounds hold for texts as well: %j', (opts, message) => {
  expect(() => job(opts)).toThrow(RangeError);
  expect(() => job(opts)).toThrow(message);
});

it('retention needs an age or a count, and nothing else', () => {
  expect(() => job({ removeOnFail: {} })).toThrow(/^opts\.removeOnFail has neither age nor count/);
  expect(() => job({ removeOnFail: { cuont: 3 } })).toThrow(/no option "cuont"\. Did you mean count\?/);
  expect(() => job({ removeOnFail: [5] })).toThrow(/^opts\.removeOnFail is an array; it must be true, false/);
  expect(() => job({ removeOnFail: { age: null } })).toThrow(/^opts\.removeOnFail\.age is null/);
});

it('options that are saved as they are become ms, too', () => {
  const plain = { timeout: 5, delay: '5s', removeOnFail: { count: 2 } };
  expect(inMilliseconds(plain)).toBe(plain);
  expect(
    inMilliseconds({ timeout: '1s', deduplication: { key: 'k', ttl: '1m' }, removeOnComplete: { age: '1h' } }),
  ).toEqual({ timeout: 1_000, deduplication: { key: 'k', ttl: 60_000 }, removeOnComplete: { age: 3_600_000 } });
  expect(() => inMilliseconds({ removeOnFail: 'soon' })).toThrow(/^opts\.removeOnFail is "soon"/);
});
