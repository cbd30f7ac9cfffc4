import { setTimeout as sleep } from 'node:timers/promises';
import { payload } from '../contenders/contender.js';
import { awaitOrders, startPart } from './part.js';
import type { Figures, Scenario } from './scenario.js';

/** Until the worker has settled the job and is idle again. */
const PAUSE_MS = 12;
const WARM_UP = 20;

/** A clock that all processes of the machine share, in milliseconds. */
const now = () => Number(process.hrtime.bigint()) / 1e6;

const COMMON = { figure: 'p50', unit: 'ms', needs: [] } as const;

export const latency: Scenario = {
  ...COMMON,
  what: 'idle worker, one add at a time, one process: from add to the start of the handler',
  async run({ queue, sizes }) {
    const started = new Map<number, (at: number) => void>();
    await queue.work(({ n }) => started.get(n)?.(now()), { purpose: 'latency' });
    await sleep(500);
    const taken: number[] = [];
    for (let n = 0; n < sizes.samples + WARM_UP; n++) {
      const start = new Promise<number>((resolve) => started.set(n, resolve));
      const begin = now();
      await queue.addOne(payload(n));
      taken.push((await start) - begin);
      await sleep(PAUSE_MS);
    }
    return percentiles(taken.slice(WARM_UP));
  },
};

export const latencyTwo: Scenario = {
  ...COMMON,
  what: 'the same with producer and worker in two processes',
  async run(context) {
    const { queue, sizes } = context;
    const worker = startPart(context, 'part:starts');
    await worker.ready;
    worker.go();
    await sleep(1_000);
    const begun: number[] = [];
    for (let n = 0; n < sizes.samples + WARM_UP; n++) {
      begun.push(now());
      await queue.addOne(payload(n));
      await sleep(PAUSE_MS);
    }
    await sleep(500);
    const starts = await worker.stop();
    return percentiles(begun.map((begin, n) => (starts[n] ?? Number.NaN) - begin).slice(WARM_UP));
  },
};

/** The worker of `latencyTwo`: reports when each job was started. */
export const starts: Scenario = {
  ...COMMON,
  what: 'a part',
  async run({ queue }) {
    const figures: Figures = {};
    const { go, stop } = awaitOrders();
    await go;
    await queue.work(
      ({ n }) => {
        figures[n] = now();
      },
      { purpose: 'latency' },
    );
    await stop;
    return figures;
  },
};

function percentiles(taken: readonly number[]): Figures {
  if (taken.some(Number.isNaN)) throw new Error('a job was not started');
  const sorted = [...taken].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
