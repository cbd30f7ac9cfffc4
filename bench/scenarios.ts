import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { type AddOptions, type Contender, payload } from './contender.js';
import type { Meter } from './meter.js';

export interface Context {
  readonly contender: Contender;
  readonly meter: Meter;
  readonly url: string;
  readonly concurrency: number;
}

export type Figures = Record<string, number>;

const JOBS = 20_000;
const CHUNK = 1_000;
const SINGLE = 5_000;
const IN_FLIGHT = 32;
const LATENCY = 300;
const GROUPS = 1_000;
const MANY = 100_000;
const PROCESSES = 4;
const IDLE_S = 60;

async function addAll({ contender }: Context, count: number, options?: AddOptions): Promise<void> {
  for (let i = 0; i < count; i += CHUNK) {
    const size = Math.min(CHUNK, count - i);
    await contender.addBulk(
      Array.from({ length: size }, (_, k) => payload(i + k)),
      options,
    );
  }
}

/** Processes `JOBS` of the waiting jobs and returns the cost per job. */
async function timed(context: Context, group = false): Promise<Figures> {
  const before = await context.meter.read();
  await context.contender.process(JOBS, { concurrency: context.concurrency, group });
  return context.meter.since(before, JOBS);
}

/** Runs another part of a scenario in a child process; `end` resolves to the last line it printed, parsed as JSON. */
function part(context: Context, name: string): { ready: Promise<void>; end: Promise<Figures>; stop(): void } {
  const args = ['--import', 'tsx', 'scenario.ts', context.contender.name, name, context.url];
  const child = spawn(process.execPath, args, { cwd: import.meta.dirname, stdio: ['pipe', 'pipe', 'inherit'] });
  let out = '';
  let begun: () => void;
  const ready = new Promise<void>((resolve) => {
    begun = resolve;
  });
  child.stdout.on('data', (chunk) => {
    out += chunk;
    if (out.includes('ready')) begun();
  });
  const end = new Promise<Figures>((resolve, reject) => {
    child.on('exit', (code) => {
      if (code === 0) resolve(JSON.parse(out.trim().split('\n').at(-1) as string) as Figures);
      else reject(new Error(`${name} ended with ${code}`));
    });
  });
  return { ready, end, stop: () => child.stdin.end() };
}

const stopped = () => new Promise<void>((resolve) => process.stdin.on('end', resolve).resume());

async function latencies(contender: Contender): Promise<number[]> {
  const started = new Map<number, () => void>();
  await contender.startIdle(({ n }) => started.get(n)?.());
  await sleep(500);
  const taken: number[] = [];
  for (let n = 0; n < LATENCY; n++) {
    const begin = performance.now();
    const start = new Promise<void>((resolve) => started.set(n, resolve));
    await contender.addOne(payload(n));
    await start;
    taken.push(performance.now() - begin);
    // Until the worker has settled the job and is idle again.
    await sleep(10);
  }
  return taken.sort((a, b) => a - b);
}

const megabytes = () => process.memoryUsage().rss / 1024 / 1024;

export const scenarios: Record<string, (context: Context) => Promise<Figures>> = {
  async bulk(context) {
    const before = await context.meter.read();
    await addAll(context, JOBS);
    return context.meter.since(before, JOBS);
  },

  async single({ contender, meter }) {
    let next = 0;
    const before = await meter.read();
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (next < SINGLE) await contender.addOne(payload(next++));
      }),
    );
    return meter.since(before, SINGLE);
  },

  async process(context) {
    await addAll(context, JOBS);
    return timed(context);
  },

  async removed(context) {
    await addAll(context, JOBS, { remove: true });
    return timed(context);
  },

  async latency({ contender }) {
    const sorted = await latencies(contender);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  },

  async backlog(context) {
    const { history } = context.contender;
    if (!history) return {};
    await context.meter.sql.unsafe(history.completed);
    await context.meter.sql.unsafe(history.waiting);
    await context.meter.sql.unsafe('vacuum analyze');
    await context.meter.sql.unsafe('checkpoint');
    await addAll(context, JOBS);
    return timed(context);
  },

  async pinned(context) {
    await addAll(context, JOBS);
    const sql = postgres(context.url, { max: 1 });
    const [release, released] = withResolvers();
    const pin = sql.begin('isolation level repeatable read', async (tx) => {
      await tx`select pg_current_xact_id(), count(*) from pg_class`;
      await released;
    });
    const figures = await timed(context);
    release();
    await pin;
    await sql.end();
    return figures;
  },

  async groups(context) {
    await addAll(context, MANY, { groupOf: (n) => `group-${n % GROUPS}` });
    return timed(context, true);
  },

  async events(context) {
    const subscriber = part(context, 'subscriber');
    await subscriber.ready;
    await addAll(context, JOBS);
    const figures = await timed(context);
    await sleep(1_000);
    subscriber.stop();
    const { heard = 0 } = await subscriber.end;
    return { ...figures, heard };
  },

  async scaleOut(context) {
    const workers = Array.from({ length: PROCESSES }, () => part(context, 'worker'));
    await Promise.all(workers.map(({ ready }) => ready));
    await addAll(context, JOBS);
    const before = await context.meter.read();
    for (const { stop } of workers) stop();
    const { ran } = (await Promise.all(workers.map(({ end }) => end))).reduce(
      (sum, { ran = 0 }) => ({ ran: (sum['ran'] ?? 0) + ran }),
      {},
    );
    return { ...(await context.meter.since(before, JOBS)), ran: ran ?? 0 };
  },

  async idle({ contender, meter }) {
    await contender.startIdle(() => {});
    // Connections opened at the start have been closed by now.
    await sleep(30_000);
    const before = await meter.read();
    await sleep(IDLE_S * 1_000);
    const after = await meter.read();
    const [row] = await meter.sql<{ n: number }[]>`
      select count(*)::int as n from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`;
    return {
      statements: after.commits - before.commits - 1,
      writes: after.transactions - before.transactions - 1,
      connections: row?.n ?? 0,
    };
  },

  async memory(context) {
    let ran = 0;
    await context.contender.startMany?.(context.concurrency, () => {
      ran++;
    });
    let warmMB = 0;
    for (let added = JOBS; added <= MANY; added += JOBS) {
      await addAll(context, JOBS);
      while (ran < added) await sleep(20);
      warmMB ||= megabytes();
    }
    return { warmMB, endMB: megabytes() };
  },

  /** Part of `events`: counts the events it receives until its input ends. */
  async subscriber({ contender }) {
    const heard = await contender.countCompleted?.();
    await sleep(500);
    console.log('ready');
    await stopped();
    return { heard: heard?.() ?? 0 };
  },

  /** Part of `scaleOut`: starts when its input ends and processes jobs until none is left. */
  async worker({ contender, meter, concurrency }) {
    console.log('ready');
    await stopped();
    let ran = 0;
    await contender.startMany?.(concurrency, () => {
      ran++;
    });
    for (let left = 1; left > 0; ) {
      await sleep(20);
      left = (await contender.unfinished?.(meter.sql)) ?? 0;
    }
    return { ran };
  },
};

function withResolvers(): [() => void, Promise<void>] {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return [resolve, promise];
}
