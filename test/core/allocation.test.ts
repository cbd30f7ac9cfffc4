import { Session } from 'node:inspector/promises';
import { expect, it } from 'vitest';
import { usePlayground } from '../support/playground.js';
import { until } from '../support/until.js';

const play = usePlayground();
const JOBS = 5_000;
/** Bytes. The estimate of a run is within a tenth of the next one's, whatever the machine is doing. */
const SAMPLING_INTERVAL = 8_192;

interface Node {
  readonly selfSize: number;
  readonly children: readonly Node[];
}

const sizeOf = ({ selfSize, children }: Node): number => children.reduce((sum, child) => sum + sizeOf(child), selfSize);

/** Bytes of JavaScript objects that are made while `work` runs, also of those that are collected meanwhile. */
async function allocated(work: () => Promise<unknown>): Promise<number> {
  const session = new Session();
  session.connect();
  await session.post('HeapProfiler.startSampling', {
    samplingInterval: SAMPLING_INTERVAL,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  } as object);
  await work();
  const { profile } = await session.post('HeapProfiler.stopSampling');
  session.disconnect();
  return sizeOf(profile.head);
}

const payload = (n: number) => ({
  n,
  user: `user-${n}`,
  email: `user-${n}@example.com`,
  tags: ['welcome', 'onboarding'],
});

// Seen: 4.1 KB to add a job of addBulk and 7 KB to process one; before rows were read lazily 8.2 and 12.6.
it('a job costs few objects', { timeout: 60_000 }, async () => {
  const store = await play.open();
  const queue = play.queue(store);
  const adding = await allocated(async () => {
    for (let i = 0; i < JOBS; i += 1_000) {
      await queue.addBulk(Array.from({ length: 1_000 }, (_, n) => ({ name: 'work', data: payload(i + n) })));
    }
  });
  let completed = 0;
  const processing = await allocated(async () => {
    const worker = play.worker(queue, store, async () => {}, { concurrency: 100 });
    worker.on('completed', () => completed++);
    await until(() => completed === JOBS, { timeout: 50_000 });
  });
  expect(adding / JOBS).toBeGreaterThan(500);
  expect(adding / JOBS).toBeLessThan(6_500);
  expect(processing / JOBS).toBeGreaterThan(1_000);
  expect(processing / JOBS).toBeLessThan(10_500);
});
