import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { LeasedJob } from '../../src/core/worker/leased-job.js';
import { StartRecords } from '../../src/core/worker/start-records.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const started = () => ({ startedAlone: true, startRecorded: false, attempt: { ended: false } }) as unknown as LeasedJob;

it('records the start of handlers that run for a while, and of no others', async () => {
  const [long, short] = [started(), started()];
  const recorded: LeasedJob[] = [];
  const records = new StartRecords({
    leased: () => [long, short],
    record: async (job) => {
      recorded.push(job);
      job.startRecorded = true;
    },
  });
  records.expect();
  await vi.advanceTimersByTimeAsync(60);
  short.attempt.ended = true;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(recorded).toEqual([long]);
});

it('tries again more and more seldom while that fails', async () => {
  const job = started();
  let tries = 0;
  const records = new StartRecords({ leased: () => [job], record: async () => void tries++ });
  records.expect();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(tries).toBeLessThan(25);
  job.startRecorded = true;
  await vi.advanceTimersByTimeAsync(5_000);
  expect(vi.getTimerCount()).toBe(0);
});
