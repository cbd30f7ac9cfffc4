import { setTimeout as sleep } from 'node:timers/promises';
import type { Executor } from '../db/executor.js';
import { type ClaimRequest, claim, FROM_THE_START, inOrder } from './claim.js';
import { groupClaim } from './claim-groups.js';
import { type ClaimStatus, limitedClaim } from './claim-limited.js';
import { type FetchLimits, type Limits, resolveLimits } from './claim-limits.js';
import { surveyGroups } from './group-survey.js';
import { readJob, type StoredJob } from './job-row.js';

export type { FetchLimits } from './claim-limits.js';

export interface Claimed {
  readonly jobs: StoredJob[];
  /** A rate limit holds back the rest: in how many ms it lets something through again. Null: none does. */
  readonly opensIn: number | null;
}

/** Statements that one claim may take while others are at the same rows. */
const MAX_ROUNDS = 20;
/** ms; the pause before the n-th try is somewhere below 2^n, and below this. */
const MAX_PAUSE = 8;

/** Takes up to `limit` waiting jobs under a lease, as far as the limits allow. */
export async function claimJobs(executor: Executor, request: ClaimRequest & FetchLimits): Promise<StoredJob[]> {
  return (await claimWithin(executor, request)).jobs;
}

/** The same, telling when it is worth asking again. */
export async function claimWithin(executor: Executor, request: ClaimRequest & FetchLimits): Promise<Claimed> {
  const limits = resolveLimits(request);
  if (!limits.guarded && !limits.grouped) return { jobs: await claim(executor, request), opensIn: null };
  const jobs: StoredJob[] = [];
  let surveyed = false;
  for (let round = 0, pauses = 0; ; round++) {
    const answer = await claimOnce(executor, request, limits, request.limit - jobs.length).catch((error) => {
      // Those taken before are under lease: they must not be lost with what failed after them.
      if (jobs.length > 0) return NO_MORE;
      throw error;
    });
    jobs.push(...answer.jobs);
    let { status } = answer;
    if (answer.surveyDue) await surveyGroups(executor, request.queueName, false);
    if (status === 'survey' || status === 'short') {
      const listed: number | null = surveyed ? 0 : await surveyGroups(executor, request.queueName, true);
      surveyed ||= listed !== null;
      // Somebody else is at it: what they find is as good, in a moment.
      if (listed === null) status = 'contended';
      else if (listed === 0 && status === 'short') status = 'done';
    }
    const again = status !== 'done' && jobs.length < request.limit && round < MAX_ROUNDS;
    // What was taken is under lease already: it does not wait for what may come.
    if (!again || (status === 'contended' && jobs.length > 0)) return { jobs, opensIn: answer.opensIn };
    if (status === 'contended') await sleep(Math.random() * Math.min(MAX_PAUSE, 2 ** ++pauses));
  }
}

interface Answer extends Claimed {
  readonly status: ClaimStatus;
  readonly surveyDue: boolean;
}

const NO_MORE: Answer = { status: 'done', surveyDue: false, jobs: [], opensIn: null };

async function claimOnce(executor: Executor, request: ClaimRequest, limits: Limits, limit: number): Promise<Answer> {
  const lifo = request.lifo ?? false;
  const from = request.from ?? FROM_THE_START;
  const { guarded, grouped, ...values } = limits;
  const rows = await executor.run(
    grouped ? groupClaim({ lifo, guarded }) : limitedClaim({ lifo, byName: request.jobName !== undefined && !lifo }),
    {
      queue: request.queueName,
      worker: request.workerId,
      lock: request.lockDuration,
      limit,
      name: request.jobName ?? null,
      priority: from.priority,
      seq: from.seq,
      ...values,
    },
  );
  const [status, due, opensIn] = rows[0] as [ClaimStatus, string | null, string | null];
  const jobs = rows.filter((row) => row[3] !== null).map((row) => readJob(row.slice(3)));
  return {
    jobs: grouped ? jobs : inOrder(jobs, lifo),
    status,
    surveyDue: due === 'true',
    opensIn: opensIn === null ? null : Math.max(0, Number(opensIn)),
  };
}
