import type { Contender } from './contender.js';

/** What not every contender can do. */
export type Feature = 'postgres' | 'removal' | 'groups' | 'events' | 'fill' | 'queue';

export interface Entry {
  /** In tables and plots. */
  readonly label: string;
  readonly server: 'postgres' | 'redis' | 'redis-durable';
  /** The npm package whose version is reported. */
  readonly package?: string;
  /** Needs a Node that the package under test does not need. */
  readonly node22?: boolean;
  readonly features: readonly Feature[];
  /** What it runs with, for the reader. */
  readonly settings: string;
  /** Loads its packages, which the other contenders' processes do without. */
  load(): Promise<Contender>;
}

const BOSS = 'batchSize 500, localConcurrency 4, burstWhenBatchFull, LISTEN/NOTIFY, pool of 10, no maintenance';

export const CONTENDERS: Readonly<Record<string, Entry>> = {
  conveyor: {
    label: 'conveyor',
    server: 'postgres',
    features: ['postgres', 'queue', 'removal', 'groups', 'events', 'fill'],
    settings: 'the built package; concurrency 100; everything else as it comes',
    load: async () => (await import('./conveyor.js')).conveyor(),
  },
  'graphile-tuned': {
    label: 'graphile-worker, tuned',
    server: 'postgres',
    package: 'graphile-worker',
    node22: true,
    features: ['postgres', 'queue', 'removal', 'fill'],
    settings:
      'concurrentJobs 24, localQueue 500, batch delays 0, pool of 25: its performance page; deletes what is done',
    load: async () => (await import('./graphile-worker.js')).graphileWorker(true),
  },
  graphile: {
    label: 'graphile-worker',
    server: 'postgres',
    package: 'graphile-worker',
    node22: true,
    features: ['postgres', 'queue', 'removal', 'fill'],
    settings: 'concurrentJobs 24, pool of 25, no batching, which is off by default; deletes what is done',
    load: async () => (await import('./graphile-worker.js')).graphileWorker(false),
  },
  'pg-boss': {
    label: 'pg-boss',
    server: 'postgres',
    package: 'pg-boss',
    node22: true,
    features: ['postgres', 'queue', 'groups', 'fill'],
    settings: `${BOSS}; for latency batchSize 1; for groups batchSize 25`,
    load: async () => (await import('./pg-boss.js')).pgBoss(),
  },
  'bullmq-pg': {
    label: 'BullMQ, Postgres',
    server: 'postgres',
    package: 'bullmq',
    node22: true,
    features: ['postgres', 'queue', 'removal', 'events', 'fill'],
    settings: 'Postgres backend; concurrency 100, for latency 1; pool of 10',
    load: async () => (await import('./bullmq.js')).bullmq('postgres'),
  },
  'bullmq-redis': {
    label: 'BullMQ, Redis',
    server: 'redis',
    package: 'bullmq',
    node22: true,
    features: ['queue', 'removal', 'events'],
    settings: 'concurrency 100, for latency 1; Redis with AOF, fsync every second, as BullMQ recommends for production',
    load: async () => (await import('./bullmq.js')).bullmq('redis'),
  },
  'bullmq-redis-durable': {
    label: 'BullMQ, Redis, fsync always',
    server: 'redis-durable',
    package: 'bullmq',
    node22: true,
    features: ['queue', 'removal', 'events'],
    settings: 'the same with appendfsync always: what has been acknowledged survives a power cut, as on Postgres',
    load: async () => (await import('./bullmq.js')).bullmq('redis'),
  },
  floor: {
    label: 'floor',
    server: 'postgres',
    features: ['postgres', 'fill'],
    settings: 'a narrow table, prepared SQL in batches of 500; no leases, retries, events or history of attempts',
    load: async () => (await import('./floor.js')).floor(),
  },
};

/** Contenders on Postgres that are neither the package under test nor the floor. */
export const POSTGRES_PEERS = Object.keys(CONTENDERS).filter(
  (name) => CONTENDERS[name]?.server === 'postgres' && CONTENDERS[name]?.package !== undefined,
);
