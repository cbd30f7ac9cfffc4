import type { Executor } from '../db/executor.js';
import type { RateLimit } from '../model/store-interface.js';
import { type ClaimRequest, claim } from './claim.js';
import type { StoredJob } from './job-row.js';

/** What bounds a claim besides its own `limit`; all of them hold over all workers, and together. */
export interface FetchLimits {
  rateLimit?: RateLimit | undefined;
  groupConcurrency?: number | undefined;
  excludeGroups?: string[] | undefined;
  maxGlobalConcurrency?: number | undefined;
  groupLimiter?: RateLimit | undefined;
}

export function claimJobs(executor: Executor, request: ClaimRequest & FetchLimits): Promise<StoredJob[]> {
  return claim(executor, request);
}
