import postgres from 'postgres';
import { addAll } from './add.js';
import type { Context, Scenario } from './scenario.js';
import { processAll, processFirst } from './work.js';

const RATE = { figure: 'perSecond', unit: 'jobs/s' } as const;

export const processing: Scenario = {
  ...RATE,
  what: '20,000 waiting jobs, no-op handler, until all are settled; history is kept, where there is one',
  needs: [],
  counted: true,
  async run(context) {
    await addAll(context, context.sizes.jobs);
    return processAll(context, context.sizes.jobs);
  },
};

export const removed: Scenario = {
  ...RATE,
  what: 'process with removeOnComplete; graphile-worker deletes what is done in any case',
  needs: ['removal'],
  counted: true,
  async run(context) {
    await addAll(context, context.sizes.jobs, { remove: true });
    return processAll(context, context.sizes.jobs);
  },
};

export const pinned: Scenario = {
  ...RATE,
  what: 'process, while another session holds an old snapshot',
  needs: ['postgres'],
  async run(context) {
    await addAll(context, context.sizes.jobs);
    const release = await pin(context.address.postgres);
    const figures = await processAll(context, context.sizes.jobs);
    await release();
    return figures;
  },
};

export const backlog: Scenario = {
  figure: 'startedPerSecond',
  unit: 'jobs/s',
  what: 'the first 20,000 jobs, with a million more waiting and a million completed',
  needs: ['fill'],
  only: ['conveyor', 'graphile-tuned', 'pg-boss', 'floor'],
  async run(context) {
    const { sizes } = context;
    await fill(context, { waiting: sizes.backlog, completed: sizes.backlog });
    return processFirst(context, sizes.jobs);
  },
};

/** Inserts jobs by SQL, or else adds them, and leaves the tables as the server's own maintenance would in time. */
export async function fill(context: Context, counts: { waiting?: number; completed?: number }): Promise<void> {
  const { queue, address } = context;
  const { waiting = 0, completed = 0 } = counts;
  if (!queue.fill) {
    await addAll(context, waiting);
    return;
  }
  const sql = postgres(address.postgres, { max: 1, onnotice() {} });
  const insert = async (text: string | undefined, count: number) => {
    if (text && count > 0) await sql.unsafe(text.replace('$count', String(count)));
  };
  await insert(queue.fill.completed, completed);
  await insert(queue.fill.waiting, waiting);
  await sql.unsafe('vacuum analyze');
  await sql.unsafe('checkpoint');
  await sql.end();
}

/** Holds a snapshot until the function that it returns is called. */
export async function pin(url: string): Promise<() => Promise<void>> {
  const sql = postgres(url, { max: 1, onnotice() {} });
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let begun = () => {};
  const holding = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const transaction = sql.begin('isolation level repeatable read', async (tx) => {
    await tx`select pg_current_xact_id(), count(*) from pg_class`;
    begun();
    await released;
  });
  await holding;
  return async () => {
    release();
    await transaction;
    await sql.end();
  };
}
