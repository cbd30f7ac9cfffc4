import { describe, expect, it } from 'vitest';
import type { JobOptions } from '../../src/model/job.js';
import { resolveJobOptions, storableOptions, withDefaults } from '../../src/model/options/job-options.js';

const custom = () => 5;

describe('resolveJobOptions', () => {
  it('takes nothing for no options', () => {
    expect(resolveJobOptions(undefined).options).toEqual({});
    expect(resolveJobOptions(null).options).toEqual({});
    expect(resolveJobOptions({}).options).toEqual({});
  });

  it.each<JobOptions>([
    { attempts: 1 },
    { attempts: 2 ** 31 - 1 },
    { priority: -(2 ** 31) },
    { priority: 2 ** 31 - 1 },
    { delay: 0 },
    { delay: '5 minutes' },
    { lifo: true },
    { timeout: 1 },
    { jobId: 'x'.repeat(255) },
    { backoff: { type: 'fixed', delay: '1s' } },
    { backoff: { type: 'exponential', delay: 1000 } },
    { backoff: { type: 'fixed', delay: 1000, jitter: 0.5 } },
    { backoff: { type: 'custom', delay: 0, customStrategy: custom } },
    { attempts: 3, backoff: { type: 'custom', delay: 0 } },
    { deduplication: { key: 'k' } },
    { deduplication: { hash: true, ttl: 5000 } },
    { deduplication: { key: 'k', hash: false } },
    { removeOnComplete: true, removeOnFail: false },
    { removeOnComplete: 0, removeOnFail: 86_400_000 },
    { failParentOnChildFailure: 'ignore' },
    { group: { id: 'g' } },
    { group: { id: 'g', maxSize: 1 } },
    { repeat: { cron: '0 9 * * 1-5', tz: 'Europe/Berlin' } },
    { repeat: { cron: '0 0 9 * * *' } },
    { repeat: { cron: '0 0 9 1 1 * 2099' } },
    { repeat: { every: '1h', limit: 0, key: 'hourly', overlap: 'queue' } },
    { repeat: { every: 1, startDate: new Date(0), endDate: '9999-12-31T23:59:59.999Z' } },
    { repeat: { every: 1000, startDate: 5, endDate: 5 }, jobId: 'j', delay: 0 },
    { repeat: { every: 1000 }, deduplication: { key: 'k' } },
  ])('takes %o as it is', (opts) => {
    expect(resolveJobOptions(opts).options).toEqual(opts);
  });

  it('drops what is undefined, at every level', () => {
    const opts = {
      attempts: undefined,
      priority: 1,
      backoff: undefined,
      group: { id: 'g', maxSize: undefined },
      repeat: { every: 5, tz: undefined },
      deduplication: { key: 'k', ttl: undefined },
    };
    const checked = resolveJobOptions(opts).options;
    expect(checked).toStrictEqual({
      priority: 1,
      group: { id: 'g' },
      repeat: { every: 5 },
      deduplication: { key: 'k' },
    });
  });

  it.each<[unknown, RegExp]>([
    [{ attempts: 0 }, /^opts\.attempts is 0; .* from 1 to 2147483647/],
    [{ attempts: 1.5 }, /^opts\.attempts is 1\.5/],
    [{ attempts: 2 ** 31 }, /^opts\.attempts/],
    [{ priority: 2 ** 31 }, /^opts\.priority/],
    [{ priority: 0.5 }, /^opts\.priority/],
    [{ delay: -1 }, /^opts\.delay is -1/],
    [{ delay: 'soon' }, /^opts\.delay is "soon"/],
    [{ timeout: 0 }, /^opts\.timeout/],
    [{ timeout: 2 ** 31 }, /^opts\.timeout/],
    [{ jobId: '' }, /^opts\.jobId/],
    [{ jobId: 'a\0' }, /^opts\.jobId/],
    [{ backoff: { type: 'linear', delay: 5 } }, /^opts\.backoff\.type is "linear"; .*'fixed', 'exponential', 'custom'/],
    [{ backoff: { type: 'fixed', delay: 'x' } }, /^opts\.backoff\.delay is "x"/],
    [{ deduplication: { key: '' } }, /^opts\.deduplication\.key/],
    [{ deduplication: { key: 'k', ttl: 0 } }, /^opts\.deduplication\.ttl/],
    [{ removeOnComplete: -1 }, /^opts\.removeOnComplete/],
    [{ removeOnFail: Number.NaN }, /^opts\.removeOnFail is NaN/],
    [{ failParentOnChildFailure: 'explode' }, /^opts\.failParentOnChildFailure is "explode"/],
    [{ group: { id: '' } }, /^opts\.group\.id/],
    [{ group: { id: 'g', maxSize: 0 } }, /^opts\.group\.maxSize/],
    [{ repeat: { every: 0 } }, /^opts\.repeat\.every is 0; it must be at least 1 ms/],
    [{ repeat: { every: 'often' } }, /^opts\.repeat\.every is "often"/],
    [{ repeat: { every: 5, limit: -1 } }, /^opts\.repeat\.limit/],
    [{ repeat: { every: 5, overlap: 'drop' } }, /^opts\.repeat\.overlap is "drop"; .*'skip', 'queue', 'all'/],
    [{ repeat: { every: 5, startDate: 'tomorrow' } }, /^opts\.repeat\.startDate is "tomorrow"/],
    [{ repeat: { every: 5, startDate: 'job 5' } }, /^opts\.repeat\.startDate/],
    [{ repeat: { every: 5, endDate: new Date(Number.NaN) } }, /^opts\.repeat\.endDate is an invalid Date/],
    [{ repeat: { every: 5, endDate: 8.64e15 } }, /^opts\.repeat\.endDate .*out of range/],
    [
      { repeat: { every: 5, startDate: 2, endDate: 1 } },
      /^opts\.repeat\.endDate must be after startDate: .*\.001Z, .*\.002Z/,
    ],
    [{ repeat: { cron: 'whenever' } }, /^opts\.repeat\.cron is "whenever"; it must be a cron expression/],
    [{ repeat: { cron: '0 0 * * *', tz: 'Mars/Olympus' } }, /^Invalid timezone: opts\.repeat\.tz is "Mars\/Olympus"/],
    [{ repeat: { every: 5, key: '' } }, /^opts\.repeat\.key/],
  ])('refuses %o with a RangeError', (opts, message) => {
    expect(() => resolveJobOptions(opts).options).toThrow(RangeError);
    expect(() => resolveJobOptions(opts).options).toThrow(message);
  });

  it.each<[unknown, RegExp]>([
    ['attempts', /^opts is "attempts"; it must be an object/],
    [[], /^opts is an array/],
    [() => 1, /^opts is a function/],
    [{ attempts: '3' }, /^opts\.attempts is "3"/],
    [{ attempts: null }, /^opts\.attempts is null/],
    [{ delay: true }, /^opts\.delay is true/],
    [{ lifo: 1 }, /^opts\.lifo is 1; it must be true or false/],
    [{ jobId: 5 }, /^opts\.jobId is 5/],
    [{ backoff: 5 }, /^opts\.backoff is 5/],
    [{ backoff: { type: 'fixed' } }, /^opts\.backoff\.delay is undefined/],
    [{ backoff: { type: 'custom', delay: 0, customStrategy: 'x' } }, /^opts\.backoff\.customStrategy is "x"/],
    [{ backoff: { type: 'fixed', delay: 0, customStrategy: custom } }, /^opts\.backoff\.customStrategy .*'custom'/],
    [{ deduplication: {} }, /^opts\.deduplication has neither/],
    [{ deduplication: { hash: false } }, /^opts\.deduplication has neither/],
    [{ removeOnComplete: {} }, /^opts\.removeOnComplete has neither age nor count/],
    [{ group: 'g' }, /^opts\.group is "g"/],
    [{ group: {} }, /^opts\.group\.id is undefined/],
    [{ repeat: {} }, /^opts\.repeat has neither cron and every|^opts\.repeat has neither/],
    [{ repeat: { cron: '* * * * *', every: 5 } }, /^opts\.repeat has both/],
    [{ repeat: { every: 5, startDate: {} } }, /^opts\.repeat\.startDate is an object/],
    [{ repeat: { cron: 5 } }, /^opts\.repeat\.cron is 5/],
    [{ repeat: { cron: '* * * * *', tz: 5 } }, /^opts\.repeat\.tz is 5/],
    [{ repeat: { every: 5 }, delay: '5s' }, /^opts\.delay is "5s" together with opts\.repeat.*repeat\.startDate/],
    [{ atempts: 5 }, /^opts has no option "atempts"\. Did you mean attempts\? Known options: attempts, /],
    [{ qqqqqq: 5 }, /^opts has no option "qqqqqq"\. Known options/],
    [{ toString: 5 }, /^opts has no option "toString"/],
    [{ repeat: { every: 5, pattern: 'x' } }, /^opts\.repeat has no option "pattern"/],
    [{ backoff: { type: 'fixed', delay: 5, dealy: 5 } }, /^opts\.backoff has no option "dealy"\. Did you mean delay\?/],
    [JSON.parse('{"__proto__":{"attempts":0}}'), /^opts has no option "__proto__"/],
  ])('refuses %o with a TypeError', (opts, message) => {
    expect(() => resolveJobOptions(opts).options).toThrow(TypeError);
    expect(() => resolveJobOptions(opts).options).toThrow(message);
  });

  it('does not change what it was given', () => {
    const opts = Object.freeze({ attempts: undefined, group: Object.freeze({ id: 'g' }) });
    expect(resolveJobOptions(opts).options).toEqual({ group: { id: 'g' } });
    expect(Object.keys(opts)).toContain('attempts');
  });
});

describe('delayMs', () => {
  it('is the delay in ms, 0 without one', () => {
    expect(resolveJobOptions({ delay: '5 minutes' })).toEqual({ options: { delay: '5 minutes' }, delayMs: 300_000 });
    expect(resolveJobOptions({ delay: 0 }).delayMs).toBe(0);
    expect(resolveJobOptions({ attempts: 2 }).delayMs).toBe(0);
    expect(resolveJobOptions(undefined).delayMs).toBe(0);
  });
});

describe('withDefaults', () => {
  const merge = (given: JobOptions, defaults: JobOptions) =>
    withDefaults(resolveJobOptions(given), resolveJobOptions(defaults));

  it('adds what is not given', () => {
    expect(merge({ attempts: 2 }, { attempts: 5, priority: 1, delay: '1s' })).toEqual({
      options: { attempts: 2, priority: 1, delay: '1s' },
      delayMs: 1_000,
    });
  });

  it('a given delay replaces the default one, also with none', () => {
    expect(merge({ delay: '2s' }, { delay: '1s' })).toEqual({ options: { delay: '2s' }, delayMs: 2_000 });
    expect(merge({ delay: 0 }, { delay: '1s' })).toEqual({ options: { delay: 0 }, delayMs: 0 });
  });

  it('a default delay does not apply to a repeating job', () => {
    const repeat = { every: '1m' };
    expect(merge({ repeat }, { delay: '1s', attempts: 3 })).toEqual({ options: { repeat, attempts: 3 }, delayMs: 0 });
  });

  it('refuses a delay together with a default repeat', () => {
    expect(() => merge({ delay: '2s' }, { repeat: { every: '1m' } })).toThrow(/^opts\.delay is "2s" together with/);
    expect(merge({ delay: 0 }, { repeat: { every: '1m' } }).delayMs).toBe(0);
  });

  it('checks nothing again, and changes neither', () => {
    const given = Object.freeze({ options: Object.freeze({ attempts: 'unchecked' as never }), delayMs: 7 });
    const defaults = Object.freeze({ options: Object.freeze({ delay: 'unchecked' as never }), delayMs: 9 });
    expect(withDefaults(given, defaults)).toEqual({
      options: { attempts: 'unchecked', delay: 'unchecked' },
      delayMs: 9,
    });
  });
});

describe('storableOptions', () => {
  it('is what JSON makes of it, and passes the validation again', () => {
    const opts = resolveJobOptions({
      attempts: 3,
      backoff: { type: 'custom', delay: '1s', customStrategy: custom },
      repeat: { cron: '0 9 * * *', startDate: new Date(0), endDate: 86_400_000, tz: 'UTC' },
    }).options;
    const stored = storableOptions(opts);
    expect(stored).toStrictEqual({
      attempts: 3,
      backoff: { type: 'custom', delay: '1s' },
      repeat: {
        cron: '0 9 * * *',
        startDate: '1970-01-01T00:00:00.000Z',
        endDate: '1970-01-02T00:00:00.000Z',
        tz: 'UTC',
      },
    });
    expect(JSON.parse(JSON.stringify(stored))).toStrictEqual(stored);
    expect(resolveJobOptions(stored).options).toStrictEqual(stored);
    expect(opts.backoff?.customStrategy).toBe(custom);
    expect(opts.repeat?.startDate).toBeInstanceOf(Date);
  });
});
