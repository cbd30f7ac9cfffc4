import { setTimeout as sleep } from 'node:timers/promises';
import type { BulkItems, JobOptions, Queue } from '../../../src/index.js';
import type { Random } from './random.js';
import type { Task } from './worker.process.js';

/** The calls of producers, as they were answered. */
export interface Load {
  /** Ids of jobs whose add was acknowledged. */
  readonly acknowledged: Set<string>;
  /** How often an add was refused, by code. */
  readonly refused: Record<string, number>;
  /** Adds of a generated id whose end is not known: the job may be there or not. */
  readonly unknown: () => number;
  /** In ms, of every call, refused or not. */
  readonly times: number[];
  /** When acknowledgements came: `performance.now()`. */
  readonly acks: number[];
  /** Adds no more; resolves when no call is under way. */
  stop(): Promise<void>;
  /** Resolves when `count` jobs were acknowledged. */
  readonly done: Promise<void>;
}

export interface LoadOptions {
  queue: Queue<Task>;
  random: Random;
  task: (random: Random) => Task;
  opts?: (random: Random) => JobOptions;
  /** Jobs in all. Default: until stopped. */
  count?: number;
  /** Producers at once. Default 4. */
  lanes?: number;
  /** Pause between a lane's calls, in ms. */
  pause: [number, number];
}

/**
 * Producers that add single jobs and bulks. Every other lane names its jobs and repeats a refused call until it is
 * acknowledged; the others leave it at the refusal.
 */
export function startLoad({ queue, random, task, opts, count = Infinity, lanes = 4, pause }: LoadOptions): Load {
  const acknowledged = new Set<string>();
  const refused: Record<string, number> = {};
  const times: number[] = [];
  const acks: number[] = [];
  let [unknown, begun, stopped] = [0, 0, false];
  const lane = async (number: number) => {
    const own = random.fork(`lane ${number}`);
    const named = number % 2 === 0;
    for (let call = 0; !stopped && begun < count; call++) {
      const size = Math.min(own.chance(0.2) ? own.int(2, 25) : 1, count - begun);
      begun += size;
      const items = Array.from({ length: size }, (_, i) => ({
        name: 'job',
        data: task(own),
        opts: { ...opts?.(own), ...(named && { jobId: `${queue.name}-${number}-${call}-${i}` }) },
      }));
      for (;;) {
        const from = performance.now();
        try {
          const jobs = await add(queue, items);
          for (const { id } of jobs) acknowledged.add(id);
          acks.push(performance.now());
          break;
        } catch (error) {
          const { code = 'none' } = error as { code?: string };
          refused[code] = (refused[code] ?? 0) + 1;
          if (!named) {
            unknown += size;
            break;
          }
          await sleep(20);
        } finally {
          times.push(performance.now() - from);
        }
      }
      await sleep(own.int(...pause));
    }
  };
  const done = Promise.all(Array.from({ length: lanes }, (_, i) => lane(i))).then(() => {});
  done.catch(() => {});
  return {
    ...{ acknowledged, refused, times, acks, done, unknown: () => unknown },
    async stop() {
      stopped = true;
      await done;
    },
  };
}

async function add(queue: Queue<Task>, items: { name: string; data: Task; opts: JobOptions }[]) {
  const [first] = items;
  if (first && items.length === 1) return [await queue.add(first.name, first.data, first.opts)];
  return queue.addBulk(items as BulkItems<Task>);
}
