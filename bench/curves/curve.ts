import type { Scenario } from '../scenarios/scenario.js';

/** A scenario that is measured at several abscissas, or whose figures are a course over time. */
export interface Curve extends Scenario {
  readonly title: string;
  readonly xTitle: string;
  /** Abscissas of a full and of a quick run. */
  readonly xs: readonly number[];
  readonly quickXs: readonly number[];
  /** The abscissa is the length of the run in seconds, and its figures are the curve, named by the second. */
  readonly series?: boolean;
  readonly logY?: boolean;
  /** Where a vertical line stands, in a run of so many seconds. */
  markAt?(seconds: number): number;
}

export const STARTED = { figure: 'startedPerSecond', unit: 'jobs/s' } as const;

export const ON_POSTGRES = ['conveyor', 'graphile-tuned', 'pg-boss', 'bullmq-pg', 'floor'] as const;
export const ALL = [...ON_POSTGRES, 'bullmq-redis'] as const;
