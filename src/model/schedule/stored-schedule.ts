import type { JobOptions, OverlapPolicy } from '../job.js';

/** A repeating schedule of a queue. */
export interface StoredSchedule {
  readonly queueName: string;
  readonly key: string;
  readonly jobName: string;
  readonly data: unknown;
  readonly opts: JobOptions;
  /** One of `cron` and `everyMs`. */
  readonly cron: string | null;
  readonly everyMs: number | null;
  readonly tz: string | null;
  readonly startAt: Date | null;
  readonly endAt: Date | null;
  /** Where the ticks of an interval count from. */
  readonly anchorAt: Date;
  /** The tick whose job exists already; null when no more will come. */
  readonly tickAt: Date | null;
  /** Jobs that may still be made, after that of `tickAt`; null: no limit. */
  readonly runsLeft: number | null;
  readonly overlap: OverlapPolicy;
  readonly createdAt: Date;
}
