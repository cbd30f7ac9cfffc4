import type { Address, Contender } from '../contenders/contender.js';
import type { Feature } from '../contenders/index.js';
import type { Meter } from '../server/meter.js';

export type Figures = Record<string, number>;

export interface Scenario {
  /** What is done, for the reader. */
  readonly what: string;
  /** Name of the figure that is compared. */
  readonly figure: string;
  readonly unit: string;
  /** What a contender must be able to do to take part. */
  readonly needs: readonly Feature[];
  /** Only these contenders take part. */
  readonly only?: readonly string[];
  /** A round of its own counts the statements. */
  readonly counted?: boolean;
  /** Figures that noise does not move are measured once. */
  readonly once?: boolean;
  run(context: Context): Promise<Figures>;
}

/** What the process of one scenario of one contender is told. */
export interface Order {
  readonly contender: string;
  readonly scenario: string;
  readonly address: Address;
  readonly sizes: Sizes;
  /** Of a curve: the abscissa. */
  readonly x?: number;
}

export interface Context extends Order {
  readonly queue: Contender;
  readonly meter: Meter;
}

export interface Sizes {
  /** Jobs to process. */
  readonly jobs: number;
  readonly singles: number;
  /** Calls of `add` under way at once. */
  readonly inFlight: number;
  /** Latencies to take. */
  readonly samples: number;
  readonly groups: number;
  readonly jobsPerGroup: number;
  /** Jobs of groups to process. */
  readonly groupJobs: number;
  /** Jobs waiting behind, and as many completed. */
  readonly backlog: number;
  /** Jobs through one worker. */
  readonly memory: number;
  readonly idleSeconds: number;
  readonly idleAfterSeconds: number;
}

export const FULL: Sizes = {
  jobs: 20_000,
  singles: 5_000,
  inFlight: 32,
  samples: 500,
  groups: 1_000,
  jobsPerGroup: 100,
  groupJobs: 20_000,
  backlog: 1_000_000,
  memory: 100_000,
  idleSeconds: 60,
  idleAfterSeconds: 30,
};

export const QUICK: Sizes = {
  ...FULL,
  singles: 2_000,
  samples: 100,
  jobsPerGroup: 40,
  groupJobs: 4_000,
  backlog: 100_000,
  memory: 60_000,
  idleSeconds: 20,
  idleAfterSeconds: 5,
};
