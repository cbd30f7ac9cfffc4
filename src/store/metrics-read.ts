import type { Executor } from '../db/executor.js';
import { MetricsDisabledError } from '../model/errors.js';
import type { MetricsBucket, MetricsQuery } from '../model/store-interface.js';

export function requireMetrics(options: { metrics: { enabled: boolean } }): void {
  if (!options.metrics.enabled) throw new MetricsDisabledError();
}
export const readMetrics = async (_e: Executor, _q: string, _m: MetricsQuery): Promise<MetricsBucket[]> => [];
export const aggregateMetrics = async (
  _e: Executor,
  _o: { retentionMinutes: number; retentionHours: number },
): Promise<void> => {};
