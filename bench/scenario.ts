/** One scenario of one contender, in a process of its own: prints its figures as one line of JSON. */
import postgres from 'postgres';
import { type Contender, payload } from './contender.js';
import { floor } from './floor.js';
import { ours } from './ours.js';

const BULK = 20_000;
const CHUNK = 1_000;
const SINGLE = 5_000;
const IN_FLIGHT = 32;
const LATENCY = 300;

const contenders: Record<string, () => Contender> = { conveyor: ours, floor };

async function addAll(contender: Contender, count: number): Promise<void> {
  for (let i = 0; i < count; i += CHUNK) {
    await contender.addBulk(Array.from({ length: Math.min(CHUNK, count - i) }, (_, k) => payload(i + k)));
  }
}

async function addSingly(contender: Contender, count: number): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (next < count) await contender.addOne(payload(next++));
    }),
  );
}

async function latencies(contender: Contender, count: number): Promise<number[]> {
  const started = new Map<number, () => void>();
  await contender.startIdle(({ n }) => started.get(n)?.());
  await new Promise((resolve) => setTimeout(resolve, 500));
  const taken: number[] = [];
  for (let n = 0; n < count; n++) {
    const begin = performance.now();
    const start = new Promise<void>((resolve) => started.set(n, resolve));
    await contender.addOne(payload(n));
    await start;
    taken.push(performance.now() - begin);
    // Idle again: the worker has settled, and waits.
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return taken.sort((a, b) => a - b);
}

const [, , name = 'conveyor', scenario = 'bulk', url = ''] = process.argv;
const contender = (contenders[name] as () => Contender)();
const concurrency = Number(process.env['CONCURRENCY'] ?? 100);
await contender.open(url);
const meter = postgres(url, { max: 1, onnotice() {} });
const reading = async () => {
  const [row] = await meter<{ lsn: string; xid: string }[]>`
    select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as lsn, (pg_current_xact_id()::text) as xid`;
  return { wal: Number(row?.lsn), transactions: Number(row?.xid) };
};

const figures: Record<string, number> = {};
if (scenario === 'process') await addAll(contender, BULK);
const before = await reading();
const begin = performance.now();
let jobs = BULK;
if (scenario === 'bulk') await addAll(contender, BULK);
else if (scenario === 'single') {
  jobs = SINGLE;
  await addSingly(contender, SINGLE);
} else if (scenario === 'process') await contender.process(BULK, { concurrency });
else if (scenario === 'latency') {
  jobs = LATENCY;
  const sorted = await latencies(contender, LATENCY);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
  Object.assign(figures, { p50: at(0.5), p95: at(0.95), p99: at(0.99) });
} else throw new Error(`no scenario "${scenario}"`);
const seconds = (performance.now() - begin) / 1000;
const after = await reading();
console.log(
  JSON.stringify({
    perSecond: jobs / seconds,
    walPerJob: (after.wal - before.wal) / jobs,
    // The meter's own reading is one.
    transactionsPerJob: (after.transactions - before.transactions - 1) / jobs,
    ...figures,
  }),
);
await meter.end();
await contender.close();
