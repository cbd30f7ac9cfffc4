import { describe, expect, it } from 'vitest';
import { createJobData } from '../../src/model/create-job-data.js';
import { hashJob } from '../../src/model/payload/hash.js';

describe('createJobData', () => {
  it('has every field at its default, and no id', () => {
    const before = Date.now();
    const { createdAt, ...job } = createJobData('emails', 'welcome', { to: 'a@example.com' });
    expect(createdAt.getTime()).toBeGreaterThanOrEqual(before);
    expect(createdAt.getTime()).toBeLessThanOrEqual(Date.now());
    expect(job).toStrictEqual({
      name: 'welcome',
      queueName: 'emails',
      data: { to: 'a@example.com' },
      state: 'waiting',
      attemptsMade: 0,
      progress: 0,
      returnvalue: null,
      failedReason: null,
      opts: {},
      deduplicationKey: null,
      logs: [],
      stacktrace: [],
      processedAt: null,
      completedAt: null,
      failedAt: null,
      delayUntil: null,
      lockUntil: null,
      cancelledAt: null,
      lockedBy: null,
      parentId: null,
      parentQueueName: null,
      pendingChildrenCount: 0,
      groupId: null,
      discarded: false,
      childrenIds: [],
      attemptLogs: [],
    });
  });

  it('is delayed by delay', () => {
    const job = createJobData('q', 'n', null, { delay: '5 minutes' });
    expect(job.state).toBe('delayed');
    expect(job.delayUntil?.getTime()).toBe(job.createdAt.getTime() + 300_000);
    expect(createJobData('q', 'n', null, { delay: 0 })).toMatchObject({ state: 'waiting', delayUntil: null });
  });

  it('is delayed by a startDate still to come', () => {
    const startDate = new Date(Date.now() + 60_000);
    for (const start of [startDate, startDate.toISOString(), startDate.getTime()]) {
      const job = createJobData('q', 'n', null, { repeat: { every: '1h', startDate: start } });
      expect(job).toMatchObject({ state: 'delayed', delayUntil: startDate });
      expect(job.opts.repeat?.startDate).toBe(startDate.toISOString());
    }
    const past = createJobData('q', 'n', null, { repeat: { every: '1h', startDate: 1000 } });
    expect(past).toMatchObject({ state: 'waiting', delayUntil: null });
  });

  it('takes id, group and deduplication key from the options', () => {
    const opts = { jobId: 'j1', group: { id: 'g1' }, deduplication: { key: 'k1' } };
    expect(createJobData('q', 'n', 1, opts)).toMatchObject({ id: 'j1', groupId: 'g1', deduplicationKey: 'k1', opts });
    const hashed = createJobData('q', 'n', { a: 1, b: 2 }, { deduplication: { hash: true } });
    expect(hashed.deduplicationKey).toBe(hashJob('n', { b: 2, a: 1 }));
    expect(createJobData('q', 'other', { a: 1, b: 2 }, { deduplication: { hash: true } }).deduplicationKey).not.toBe(
      hashed.deduplicationKey,
    );
  });

  it('stores options that JSON can hold', () => {
    const { opts } = createJobData('q', 'n', 1, { backoff: { type: 'custom', delay: 0, customStrategy: () => 1 } });
    expect(opts).toStrictEqual({ backoff: { type: 'custom', delay: 0 } });
  });

  it('refuses bad names and options', () => {
    expect(() => createJobData('', 'n', 1)).toThrow(/^Invalid queue name/);
    expect(() => createJobData('q\n', 'n', 1)).toThrow(RangeError);
    expect(() => createJobData('q', '', 1)).toThrow(/^job name/);
    expect(() => createJobData('q', 5 as never, 1)).toThrow(TypeError);
    expect(() => createJobData('q', 'n', 1, { attempts: 0 })).toThrow(/^opts\.attempts/);
  });
});
