import { setTimeout as sleep } from 'node:timers/promises';
import type { Executor } from '../../db/executor.js';
import { readJob, type StoredJob } from '../rows/job-row.js';
import { type ClaimRequest, claim, FROM_THE_START, inOrder, orderOf } from './claim.js';
import { refreshGroups } from './group-refresh.js';
import { groupClaim } from './grouped.js';
import { type ClaimStatus, limitedClaim } from './limited.js';
import { type FetchLimits, type Limits, resolveLimits } from './limits.js';

export type { FetchLimits } from './limits.js';

export interface Claimed {
  readonly jobs: StoredJob[];
  /** Others were at it all the time: there may be more to take right now. */
  readonly more: boolean;
  /** A rate limit holds back the rest: in how many ms it lets something through again. Null: none does. */
  readonly opensIn: number | null;
}

/** How often a claim that took nothing tries again while others are at the same rows; and one that took something. */
const MAX_TRIES = 40;
const MAX_TRIES_FOR_MORE = 3;
/** ms; the pause before the n-th try is somewhere below 2^n, and below this. */
const MAX_PAUSE = 8;

/** Takes up to `limit` waiting jobs under a lease, as far as the limits allow. */
export async function claimJobs(executor: Executor, request: ClaimRequest & FetchLimits): Promise<StoredJob[]> {
  return (await claimWithin(executor, request, resolveLimits(request))).jobs;
}

/** The same, telling when it is worth asking again. */
export async function claimWithin(executor: Executor, request: ClaimRequest, limits: Limits): Promise<Claimed> {
  if (!limits.guarded && !limits.grouped) {
    return { jobs: await claim(executor, request), more: false, opensIn: null };
  }
  const jobs: StoredJob[] = [];
  const survey = new Survey(executor, request.queueName);
  // Those taken before are under lease: they must not be lost with what fails after them.
  const orElse =
    <T>(instead: T) =>
    (error: unknown): T => {
      if (jobs.length > 0) return instead;
      throw error;
    };
  for (let tries = 0; ; ) {
    const answer = await claimOnce(executor, request, limits, request.limit - jobs.length).catch(orElse(FAILED));
    jobs.push(...answer.jobs);
    const status = await survey.after(answer).catch(orElse('done' as const));
    if (answer.jobs.length === 0) tries++;
    const enough = jobs.length >= request.limit || tries > (jobs.length > 0 ? MAX_TRIES_FOR_MORE : MAX_TRIES);
    if (status === 'done' || enough) return { jobs, more: status !== 'done', opensIn: answer.opensIn };
    if (status === 'contended') await sleep(Math.random() * Math.min(MAX_PAUSE, 2 ** tries));
  }
}

interface Answer {
  readonly status: ClaimStatus;
  readonly surveyDue: boolean;
  readonly opensIn: number | null;
  readonly jobs: StoredJob[];
}

const FAILED: Answer = { status: 'done', surveyDue: false, jobs: [], opensIn: null };

/** Surveys the queue's groups when a claim needs it: once is enough for one call. */
class Survey {
  readonly #executor: Executor;
  readonly #queueName: string;
  #done = false;

  constructor(executor: Executor, queueName: string) {
    this.#executor = executor;
    this.#queueName = queueName;
  }

  /** What the claim's status comes down to. */
  async after({ status, surveyDue }: Answer): Promise<'done' | 'again' | 'contended'> {
    if (status === 'survey' || status === 'short') {
      if (this.#done) return 'done';
      const listed = await refreshGroups(this.#executor, this.#queueName, true);
      // Somebody else is at it: what they find is as good, in a moment.
      if (listed === null) return 'contended';
      this.#done = true;
      return status === 'short' && listed === 0 ? 'done' : 'again';
    }
    if (surveyDue) await refreshGroups(this.#executor, this.#queueName, false);
    return status === 'done' || status === 'contended' ? status : 'again';
  }
}

async function claimOnce(executor: Executor, request: ClaimRequest, limits: Limits, limit: number): Promise<Answer> {
  const lifo = request.lifo ?? false;
  const from = request.from ?? FROM_THE_START;
  const { guarded, grouped, ...values } = limits;
  const rows = await executor.run(grouped ? groupClaim({ lifo, guarded }) : limitedClaim({ order: orderOf(request) }), {
    queue: request.queueName,
    worker: request.workerId,
    lock: request.lockDuration,
    limit,
    name: request.jobName ?? null,
    priority: from.priority,
    seq: from.seq,
    ...values,
  });
  const [status, due, opensIn] = rows[0] as [ClaimStatus, string | null, string | null];
  const jobs = rows.filter((row) => row[3] !== null).map((row) => readJob(row.slice(3), request));
  return {
    jobs: grouped ? jobs : inOrder(jobs, lifo),
    status,
    surveyDue: due === 'true',
    opensIn: opensIn === null ? null : Math.max(0, Number(opensIn)),
  };
}
