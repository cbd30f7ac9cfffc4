import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { type PgStore, Queue, type RepeatOptions } from '../../../src/index.js';
import type { Task } from './worker.process.js';

/** What a worker process adds when it starts, by its own clock if that is another. */
export interface ProducePlan {
  queue: string;
  /** Jobs with these delays, in ms; when they are due is noted by the server's clock. */
  delays?: number[];
  jobs?: { task: Task; opts?: object }[];
  /** Registered with each start, as a deploy does. */
  every?: { ms: number; repeat: RepeatOptions & { key: string }; task?: Task }[];
  cron?: { line: string; repeat: RepeatOptions & { key: string } }[];
  /** Adds with a deduplication key that lives for so many ms, and tells whether it did. */
  keyFor?: number;
}

export async function produce(
  plan: ProducePlan,
  store: PgStore,
  log: postgres.Sql,
  tell: (kind: string, more?: object) => void,
): Promise<void> {
  const queue = new Queue<Task>(plan.queue, { store });
  for (const { ms, repeat, task } of plan.every ?? []) {
    await queue.every(ms, 'tick', task ?? { tag: repeat.key, ms: [0, 5] }, { repeat });
  }
  for (const { line, repeat } of plan.cron ?? []) {
    await queue.cron(line, 'tick', { tag: repeat.key, ms: [0, 5] }, { repeat });
  }
  for (const { task, opts } of plan.jobs ?? []) await queue.add('job', task, opts);
  for (const delay of plan.delays ?? []) {
    const [before] = await log`select clock_timestamp()::text as t`;
    const { id } = await queue.add('job', { tag: 'delay', ms: [0, 5] }, { delay });
    await log`insert into drill_due select ${id}, ${before?.['t']}::text::timestamptz + ms, clock_timestamp() + ms
      from (select ${delay} * interval '1 ms' as ms) delay`;
  }
  if (plan.keyFor !== undefined) {
    const parked = new Queue<Task>(`${plan.queue} parked`, { store });
    const opts = { deduplication: { key: `key of ${process.pid}`, ttl: plan.keyFor } };
    const add = async () => (await parked.add('job', { ms: [0, 0] }, opts)).id;
    const first = await add();
    const second = await add();
    await sleep(plan.keyFor + 200);
    tell('key', { held: first === second, expired: (await add()) !== first });
  }
}
