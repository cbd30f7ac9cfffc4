import { durationIn } from '../../model/options/duration.js';
import { integerIn, validateName } from '../../model/options/names.js';
import type { RateLimit } from '../../model/store-interface.js';
import { show } from '../../model/text.js';

/** What bounds a claim besides its own `limit`. Each holds over all workers, and they hold together. */
export interface FetchLimits {
  /** Successful fetches of the queue's rate-limited claims in any window. */
  rateLimit?: RateLimit | undefined;
  /** Active jobs per group. */
  groupConcurrency?: number | undefined;
  excludeGroups?: string[] | undefined;
  /** Active jobs of the queue. */
  maxGlobalConcurrency?: number | undefined;
  /** Fetches per group in any window. */
  groupLimiter?: RateLimit | undefined;
}

/** Parameters of the claim statements; null: not limited. */
export interface Limits {
  readonly rateMax: number | null;
  readonly rateMs: number | null;
  readonly active: number | null;
  readonly groupActive: number | null;
  readonly groupMax: number | null;
  readonly groupMs: number | null;
  /** JSON text of an array, so that any number of groups is one statement text. */
  readonly excluded: string;
  /** The queue's row of limits must be locked. */
  readonly guarded: boolean;
  /** Jobs are taken round-robin over their groups. */
  readonly grouped: boolean;
}

const MAX_COUNT = 2_147_483_647;

/** @throws TypeError or RangeError naming the option */
export function resolveLimits(limits: FetchLimits): Limits {
  const [rateMax, rateMs] = rate(limits.rateLimit, 'rateLimit');
  const [groupMax, groupMs] = rate(limits.groupLimiter, 'groupLimiter');
  const active = atLeastOne(limits.maxGlobalConcurrency, 'maxGlobalConcurrency');
  const groupActive = atLeastOne(limits.groupConcurrency, 'groupConcurrency');
  const excluded = groups(limits.excludeGroups);
  return {
    rateMax,
    rateMs,
    active,
    // More than any group can have: it only asks for round-robin.
    groupActive: groupActive !== null && groupActive > MAX_COUNT ? null : groupActive,
    groupMax,
    groupMs,
    excluded: JSON.stringify(excluded),
    guarded: rateMax !== null || active !== null,
    grouped: groupActive !== null || groupMax !== null || excluded.length > 0,
  };
}

function atLeastOne(value: unknown, name: string): number | null {
  return value == null ? null : integerIn(value, name, 1, Number.MAX_SAFE_INTEGER);
}

function rate(limit: unknown, name: string): [max: number, duration: number] | [null, null] {
  if (limit == null) return [null, null];
  if (typeof limit !== 'object') throw new TypeError(`${name} is ${show(limit)}; it must be { max, duration }.`);
  const { max, duration } = limit as Partial<RateLimit>;
  return [
    integerIn(max, `${name}.max`, 1, MAX_COUNT),
    durationIn(duration, `${name}.duration`, 1, Number.MAX_SAFE_INTEGER),
  ];
}

function groups(value: unknown): string[] {
  if (value == null) return [];
  if (!Array.isArray(value)) throw new TypeError(`excludeGroups is ${show(value)}; it must be an array of group ids.`);
  return value.map((id, i) => validateName(id, `excludeGroups[${i}]`));
}
