import { setTimeout as sleep } from 'node:timers/promises';
import type { Executor } from '../../db/executor.js';
import { readJob } from '../rows/job-row.js';
import type { StoredJob } from '../rows/stored-job.js';
import { keyOf, type SetAside, SKIP_NONE, sparing } from '../rules/set-aside.js';
import { mayBeCut } from './bytes.js';
import { type ClaimRequest, claim, FROM_THE_START, inOrder, modeOf } from './claim.js';
import { orderOf } from './eligible.js';
import { refreshGroups } from './group-refresh.js';
import { groupClaim } from './grouped.js';
import { type ClaimStatus, limitedClaim } from './limited.js';
import { type FetchLimits, type Limits, resolveLimits } from './limits.js';

export type { FetchLimits } from './limits.js';

export interface Claimed {
  readonly jobs: StoredJob[];
  /** Other claims were under way all the time, or payloads were large: more may be claimable at once. */
  readonly more: boolean;
  /** ms until a rate limit that holds back the rest allows a claim again; null: none does. */
  readonly opensIn: number | null;
}

/** How often a claim is sent again that got nothing because of concurrent claims; and one that got something. */
const MAX_TRIES = 40;
const MAX_TRIES_FOR_MORE = 3;
/** ms. The pause before the n-th try is random, below 2^n and below this. */
const MAX_PAUSE = 8;

/** Jobs that one claim sets aside. */
const MAX_REFUSED = 20;

/** Takes up to `limit` waiting jobs under a lease, as far as the limits allow. */
export async function claimJobs(
  { executor, setAside }: { readonly executor: Executor; readonly setAside: SetAside },
  request: ClaimRequest & FetchLimits,
): Promise<StoredJob[]> {
  return (await claimSparing(executor, request, resolveLimits(request), setAside)).jobs;
}

/**
 * The same, and when it is worth claiming again. What the database refuses to give is set aside: one job, for which a
 * trigger of the app raises an error, must not stop its queue.
 */
export async function claimSparing(
  executor: Executor,
  request: ClaimRequest,
  limits: Limits,
  aside: SetAside,
): Promise<Claimed> {
  let size = request.limit;
  const claimed = await sparing({
    work: (limit, skip) => {
      size = limit;
      return claimWithin(executor, { ...request, limit, skip }, limits);
    },
    head: async (skip) => {
      const { jobs } = await claimWithin(executor, { ...request, limit: 1, skip, probe: true }, limits);
      return jobs[0] && keyOf(jobs[0].job);
    },
    limit: request.limit,
    aside,
    maxInARow: MAX_REFUSED,
  });
  return size < request.limit && claimed.jobs.length > 0 ? { ...claimed, more: true } : claimed;
}

/** One claim, or a few where limits need them. */
export async function claimWithin(executor: Executor, request: ClaimRequest, limits: Limits): Promise<Claimed> {
  if (!limits.guarded && !limits.grouped) {
    const jobs = await claim(executor, request);
    return { jobs, more: mayBeCut(jobs), opensIn: null };
  }
  const jobs: StoredJob[] = [];
  const refresh = new GroupRefresh(executor, request.queueName);
  // Jobs that were claimed already are under lease: a later failure must not lose them.
  const orElse =
    <T>(instead: T) =>
    (error: unknown): T => {
      if (jobs.length > 0) return instead;
      throw error;
    };
  for (let tries = 0; ; ) {
    const answer = await claimOnce(executor, request, limits, request.limit - jobs.length).catch(orElse(FAILED));
    jobs.push(...answer.jobs);
    if (mayBeCut(jobs)) return { jobs, more: true, opensIn: answer.opensIn };
    const status = await refresh.after(answer).catch(orElse('done' as const));
    if (answer.jobs.length === 0) tries++;
    const enough = jobs.length >= request.limit || tries > (jobs.length > 0 ? MAX_TRIES_FOR_MORE : MAX_TRIES);
    if (status === 'done' || enough) return { jobs, more: status !== 'done', opensIn: answer.opensIn };
    if (status === 'contended') await sleep(Math.random() * Math.min(MAX_PAUSE, 2 ** tries));
  }
}

interface Answer {
  readonly status: ClaimStatus;
  readonly refreshDue: boolean;
  readonly opensIn: number | null;
  readonly jobs: StoredJob[];
}

const FAILED: Answer = { status: 'done', refreshDue: false, jobs: [], opensIn: null };

/** Refreshes the queue's list of groups when a claim needs it, at most once per call. */
class GroupRefresh {
  readonly #executor: Executor;
  readonly #queueName: string;
  #done = false;

  constructor(executor: Executor, queueName: string) {
    this.#executor = executor;
    this.#queueName = queueName;
  }

  /** What to do after a claim. */
  async after({ status, refreshDue }: Answer): Promise<'done' | 'again' | 'contended'> {
    if (status === 'refresh' || status === 'short') {
      if (this.#done) return 'done';
      const listed = await refreshGroups(this.#executor, this.#queueName, true);
      // Another refresh is under way, and will serve as well.
      if (listed === null) return 'contended';
      this.#done = true;
      return status === 'short' && listed === 0 ? 'done' : 'again';
    }
    if (refreshDue) await refreshGroups(this.#executor, this.#queueName, false);
    return status === 'done' || status === 'contended' ? status : 'again';
  }
}

async function claimOnce(executor: Executor, request: ClaimRequest, limits: Limits, limit: number): Promise<Answer> {
  const lifo = request.lifo ?? false;
  const from = request.from ?? FROM_THE_START;
  const { guarded, grouped, ...values } = limits;
  const mode = modeOf(request);
  const statement = grouped ? groupClaim({ lifo, guarded, mode }) : limitedClaim({ order: orderOf(request), mode });
  const rows = await executor.run(statement, {
    queue: request.queueName,
    worker: request.workerId,
    lock: request.lockDuration,
    limit,
    name: request.jobName ?? null,
    priority: from.priority,
    seq: from.seq,
    skip: request.skip ?? SKIP_NONE,
    ...values,
  });
  const [status, due, opensIn] = rows[0] as [ClaimStatus, string | null, string | null];
  const jobs = rows.filter((row) => row[3] !== null).map((row) => readJob(row.slice(3), request));
  return {
    jobs: grouped ? jobs : inOrder(jobs, lifo),
    status,
    refreshDue: due === 'true',
    opensIn: opensIn === null ? null : Math.max(0, Number(opensIn)),
  };
}
