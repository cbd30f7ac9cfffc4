import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LeasedJob } from '../../src/core/worker/leased-job.js';
import { Leases } from '../../src/core/worker/leases.js';
import { noopLogger } from '../../src/model/logger.js';
import type { Renewal, Renewed } from '../../src/store/lease/renew.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const leased = (id: string, lease = 1) =>
  ({
    stored: { id, queueName: 'q', lease },
    attempt: { ended: false },
    confirmedAt: performance.now(),
  }) as unknown as LeasedJob;

const granted = (leases: readonly Renewal[], cancelled = false): Renewed[] =>
  leases.map(({ id, queueName, lease }) => ({ id, queueName, lease, cancelled, written: true }));

/** Leases of 300 ms, renewed every 100 ms by the function given. */
function setUp(renew: (leases: readonly Renewal[]) => Promise<Renewed[]> = async (leases) => granted(leases)) {
  const lost: LeasedJob[] = [];
  const cancelled: LeasedJob[] = [];
  const warnings: string[] = [];
  const renewed: string[][] = [];
  const leases = new Leases({
    workerId: 'w',
    lockDuration: 300,
    logger: { ...noopLogger, warn: (message) => warnings.push(message) },
    renew: (asked, duration) => {
      expect(duration).toBe(300);
      renewed.push(asked.map(({ id, lease, workerId }) => `${id} ${lease} ${workerId}`));
      return renew(asked);
    },
    lost: (job) => {
      lost.push(job);
      leases.delete(job);
    },
    cancelled: (job) => cancelled.push(job),
  });
  return { leases, lost, cancelled, warnings, renewed };
}

describe('the start of a handler', () => {
  const started = (id: string, alone: boolean) => Object.assign(leased(id), { startedAlone: alone });

  it('is recorded once, together with others, and does not count as a renewal', async () => {
    const asked: (readonly Renewal[])[] = [];
    const { leases } = setUp(async (renewals) => {
      asked.push(renewals);
      return granted(renewals);
    });
    const jobs = [started('a', false), started('b', true)] as [LeasedJob, LeasedJob];
    const [a, b] = jobs;
    const before = a.confirmedAt;
    for (const job of jobs) leases.add(job);
    await vi.advanceTimersByTimeAsync(10);
    await Promise.all(jobs.map((job) => leases.recordStart(job)));
    expect(asked.map((batch) => batch.map(({ id, startedAlone }) => [id, startedAlone]))).toEqual([
      [
        ['a', false],
        ['b', true],
      ],
    ]);
    expect([a.startRecorded, b.startRecorded, a.confirmedAt]).toEqual([true, true, before]);
    await vi.advanceTimersByTimeAsync(100);
    expect(asked[1]?.map(({ startedAlone }) => startedAlone)).toEqual([undefined, undefined]);
    expect(a.confirmedAt).toBeGreaterThan(before);
  });

  it('is not recorded where the statement fails', async () => {
    const { leases } = setUp(() => Promise.reject(new Error('away')));
    const job = started('a', true);
    leases.add(job);
    await leases.recordStart(job);
    expect(job.startRecorded).toBeFalsy();
  });
});

describe('renewal', () => {
  it('is made at each third of the duration, in one statement for all jobs', async () => {
    const { leases, renewed } = setUp();
    leases.add(leased('a'));
    await vi.advanceTimersByTimeAsync(50);
    leases.add(leased('b', 7));
    await vi.advanceTimersByTimeAsync(49);
    expect(renewed).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(renewed).toEqual([['a 1 w', 'b 7 w']]);
    await vi.advanceTimersByTimeAsync(200);
    expect(renewed).toHaveLength(3);
  });

  it('needs no timer without jobs', async () => {
    const { leases } = setUp();
    const job = leased('a');
    leases.add(job);
    leases.delete(job);
    expect(vi.getTimerCount()).toBe(0);
    leases.add(job);
    leases.clear();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('confirms a lease as of when it was asked for', async () => {
    const { leases } = setUp((asked) => new Promise((resolve) => setTimeout(() => resolve(granted(asked)), 40)));
    const job = leased('a');
    leases.add(job);
    await vi.advanceTimersByTimeAsync(100);
    const asked = performance.now();
    await vi.advanceTimersByTimeAsync(40);
    expect(job.confirmedAt).toBe(asked);
  });

  it('reports jobs that are not renewed as lost, and those that are cancelled', async () => {
    const { leases, lost, cancelled } = setUp(async (asked) =>
      granted(
        asked.filter(({ id }) => id !== 'gone'),
        true,
      ),
    );
    const [gone, stopped, ended] = [leased('gone'), leased('stopped'), leased('gone', 2)];
    ended.attempt.ended = true;
    leases.add(gone);
    leases.add(stopped);
    await vi.advanceTimersByTimeAsync(100);
    expect([lost, cancelled]).toEqual([[gone], [stopped]]);
    // Its settlement is on the way, and finds out.
    leases.add(ended);
    await vi.advanceTimersByTimeAsync(100);
    expect(lost).toEqual([gone]);
  });

  it('keeps the newer lease on the same job, and reports the older one as lost', () => {
    const { leases, lost } = setUp();
    const [older, newer] = [leased('a', 1), leased('a', 2)];
    leases.add(older);
    leases.add(newer);
    expect(leases.all()).toEqual([newer]);
    expect(lost).toEqual([older]);
    leases.delete(older);
    expect(leases.all()).toEqual([newer]);
  });

  it('an older lease whose attempt has ended is not lost', () => {
    const { leases, lost } = setUp();
    const older = leased('a', 1);
    older.attempt.ended = true;
    leases.add(older);
    leases.add(leased('a', 2));
    expect(lost).toEqual([]);
  });
});

describe('renewals that fail', () => {
  it('two of them lose nothing, and the third does', async () => {
    const { leases, lost, warnings } = setUp(() => Promise.reject(new Error('refused')));
    const job = leased('a');
    leases.add(job);
    await vi.advanceTimersByTimeAsync(300);
    expect([lost, warnings.length]).toEqual([[], 3]);
    expect(warnings[0]).toBe('conveyor: could not renew 1 lease(s): refused');
    await vi.advanceTimersByTimeAsync(100);
    expect(lost).toEqual([job]);
  });

  it('one that has no answer after a period counts as failed, and the next is made', async () => {
    let hang = true;
    const { leases, lost, warnings, renewed } = setUp((asked) =>
      hang ? new Promise(() => {}) : Promise.resolve(granted(asked)),
    );
    const job = leased('a');
    leases.add(job);
    await vi.advanceTimersByTimeAsync(150);
    hang = false;
    await vi.advanceTimersByTimeAsync(50);
    expect(warnings).toEqual(['conveyor: could not renew 1 lease(s): no answer within 100 ms']);
    await vi.advanceTimersByTimeAsync(500);
    expect(lost).toEqual([]);
    expect(renewed.length).toBeGreaterThanOrEqual(6);
  });

  it('a blocked event loop alone loses nothing', async () => {
    const answers: (() => void)[] = [];
    const { leases, lost, warnings } = setUp(
      (asked) => new Promise((resolve) => void answers.push(() => resolve(granted(asked)))),
    );
    leases.add(leased('a'));
    await vi.advanceTimersByTimeAsync(100);
    // A handler blocks for two seconds: the clock has moved on when the timer that waits for the answer fires.
    const now = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => now() + 2_000);
    await vi.advanceTimersByTimeAsync(100);
    expect(warnings).toEqual([]);
    answers[0]?.();
    await vi.advanceTimersByTimeAsync(0);
    expect([lost, warnings]).toEqual([[], []]);
    vi.restoreAllMocks();
  });
});

describe('check', () => {
  it('asks at once, of jobs that are leased and have not ended', async () => {
    const { leases, renewed } = setUp();
    const [a, b] = [leased('a'), leased('b')];
    b.attempt.ended = true;
    leases.add(a);
    leases.add(b);
    for (const id of ['a', 'b', 'unknown']) leases.check(id);
    expect([leases.isUncertain(a), leases.isUncertain(b)]).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(0);
    expect(renewed).toEqual([['a 1 w']]);
    expect(leases.isUncertain(a)).toBe(false);
  });

  it('collects jobs while a check is under way into the next', async () => {
    const answers: (() => void)[] = [];
    const { leases, renewed } = setUp(
      (asked) => new Promise((resolve) => void answers.push(() => resolve(granted(asked)))),
    );
    for (const id of ['a', 'b', 'c']) leases.add(leased(id));
    leases.check('a');
    await vi.advanceTimersByTimeAsync(0);
    for (const id of ['b', 'c', 'b']) leases.check(id);
    expect(renewed).toEqual([['a 1 w']]);
    answers[0]!();
    await vi.advanceTimersByTimeAsync(0);
    expect(renewed).toEqual([['a 1 w'], ['b 1 w', 'c 1 w']]);
  });
});
