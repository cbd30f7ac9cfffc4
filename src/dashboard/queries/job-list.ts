import { type SQL, type SQLWrapper, sql } from 'drizzle-orm';
import { columns, OPTIONAL, type Slots, type Statement, variants } from '../../db/statement.js';
import { alias, type Jobs, literal } from '../../db/tables.js';
import { epochMs, instantOf } from '../../db/time.js';
import { JOB_STATES, type JobState } from '../../model/job.js';
import { inState } from '../../store/rules/states.js';
import { exactTime } from './keyset.js';
import { SCAN_CAP } from './limits.js';

/** A page of one state, in the order of an index that the state has. */

/** Payloads beyond it, as they are stored, are neither searched nor shown in lists. */
const MAX_SEARCHED_BYTES = 262_144;
const MAX_PREVIEW_BYTES = 2_000;

interface Order {
  readonly by: (j: Jobs) => SQLWrapper;
  readonly kind: 'time' | 'priority';
  readonly newestFirst: boolean;
}

/** What the jobs of a state are ordered by, before their place in line. */
export const ORDERS: Readonly<Record<JobState, Order>> = {
  // Of active jobs there are no more than workers take: they are sorted.
  active: { by: (j) => sql`coalesce(${j.processedAt}, ${j.createdAt})`, kind: 'time', newestFirst: false },
  waiting: { by: (j) => j.priority, kind: 'priority', newestFirst: false },
  'waiting-children': { by: () => sql`0`, kind: 'priority', newestFirst: false },
  delayed: { by: (j) => j.delayUntil, kind: 'time', newestFirst: false },
  failed: { by: (j) => j.failedAt, kind: 'time', newestFirst: true },
  completed: { by: (j) => j.completedAt, kind: 'time', newestFirst: true },
};

export type ListParams =
  | ('queue' | 'at' | 'seq' | 'limit')
  | ('name' | 'text' | 'escaped' | 'path' | 'value' | 'since' | 'until');
const PARAMS: readonly ListParams[] = [
  ...(['queue', 'at', 'seq', 'limit'] as const),
  ...(['name', 'text', 'escaped', 'path', 'value', 'since', 'until'] as const),
];

const MAX_SEQ = '9223372036854775807';

function matches(j: Jobs, p: Slots<ListParams>): SQL {
  const path = sql`array(select jsonb_array_elements_text(${p.path}::jsonb))`;
  const data = sql`pg_column_size(${j.data}) <= ${literal(MAX_SEARCHED_BYTES)} and`;
  return sql`(${p.name} is null or ${j.name} ilike ${p.name})
    and (${p.text} is null or ${data} ((${j.data})::text ilike ${p.text} or (${j.data})::text ilike ${p.escaped}))
    and (${p.path} is null or ${data} case when ${p.value} is null then ${j.data} #> ${path} is not null
      else ${j.data} #>> ${path} = ${p.value} end)`;
}

/** Times that are bounds: on what the state is ordered by, if that is a time, else on when the job was added. */
function within(j: Jobs, state: JobState, p: Slots<ListParams>): SQL {
  const { by, kind } = ORDERS[state];
  const time = kind === 'time' ? by(j) : j.createdAt;
  return sql`${time} >= coalesce(${instantOf(p.since)}, '-infinity') and ${time} <= coalesce(${instantOf(p.until)}, 'infinity')`;
}

const typeOf = (state: JobState) => sql.raw(ORDERS[state].kind === 'time' ? 'timestamptz' : 'int');

/** The jobs of a state behind a place, in its order. */
function behind(j: Jobs, state: JobState, p: Slots<ListParams>): { from: SQL; order: SQL } {
  const { by, kind, newestFirst } = ORDERS[state];
  const compare = newestFirst ? sql`<` : sql`>`;
  const direction = newestFirst ? sql`desc` : sql``;
  const [firstAt, firstSeq] = newestFirst
    ? ["'infinity'", `'${MAX_SEQ}'`]
    : [kind === 'time' ? "'-infinity'" : `'${-(2 ** 31)}'`, `'-${MAX_SEQ}'`];
  const at = sql`coalesce(${p.at}, ${sql.raw(firstAt)})::${typeOf(state)}`;
  const seq = sql`coalesce(${p.seq}, ${sql.raw(firstSeq)})::bigint`;
  const key =
    state === 'waiting-children'
      ? sql`${j.seq} ${compare} ${seq}`
      : sql`(${by(j)}, ${j.seq}) ${compare} (${at}, ${seq})`;
  const order =
    state === 'waiting-children' ? sql`order by ${j.seq}` : sql`order by ${by(j)} ${direction}, ${j.seq} ${direction}`;
  // The index serves these bounds, too.
  const times = kind === 'time' ? sql` and ${within(j, state, p)}` : sql``;
  return { from: sql`where ${j.queueName} = ${p.queue} and ${inState(j, state)} and ${key}${times}`, order };
}

const placeOf = (j: Jobs, state: JobState): SQL[] => {
  const { by, kind } = ORDERS[state];
  return [kind === 'time' ? exactTime(by(j)) : sql`${by(j)}`, sql`${j.seq}`];
};

/**
 * A filter that no index serves sees no more than `SCAN_CAP` jobs, so that a page costs the same in a table of millions.
 */
export const selectPage: (shape: { state: JobState; filtered: boolean; data: boolean }) => Statement<ListParams> =
  variants({ state: JOB_STATES, filtered: OPTIONAL, data: OPTIONAL }, ({ state, filtered, data }, declare) =>
    declare(
      `dashboard jobs ${state}${filtered ? ' filtered' : ''}${data ? ' with data' : ''}`,
      PARAMS,
      (db, p) => {
        const j = alias(db.jobs, 'j');
        const { from, order } = behind(j, state, p);
        const most = data ? MAX_SEARCHED_BYTES : MAX_PREVIEW_BYTES;
        const shown = [
          ...[j.id, j.name, j.state, j.attemptsMade, j.progress, j.priority, j.groupId, j.parentId, j.lockedBy],
          ...[sql`${j.opts} ->> 'attempts'`, sql`left(${j.failedReason}, 200)`],
          ...[j.createdAt, j.processedAt, j.delayUntil, j.completedAt, j.failedAt, j.cancelledAt].map(epochMs),
          sql`case when pg_column_size(${j.data}) <= ${literal(most)} then ${j.data} end`,
          ...placeOf(j, state),
        ];
        const bounded = filtered
          ? sql`(select * from ${db.jobs} as ${j} ${from} ${order} limit ${literal(SCAN_CAP)}) as ${j}
              where ${within(j, state, p)} and ${matches(j, p)}`
          : sql`${db.jobs} as ${j} ${from}`;
        return sql`select ${columns(...shown)} from ${bounded} ${order} limit ${p.limit}::bigint`;
      },
      { repeatable: true },
    ),
  );

/** The place of the last job that a filtered page has looked at; no row when it has seen all of the state. */
export const selectScanEnd: (shape: { state: JobState }) => Statement<'queue' | 'at' | 'seq' | ListParams> = variants(
  { state: JOB_STATES },
  ({ state }, declare) =>
    declare(
      `dashboard scan end ${state}`,
      PARAMS,
      (db, p) => {
        const j = alias(db.jobs, 'j');
        const { from, order } = behind(j, state, p);
        return sql`select ${columns(...placeOf(j, state))} from ${db.jobs} as ${j} ${from} ${order}
          offset ${literal(SCAN_CAP - 1)} limit 1`;
      },
      { repeatable: true },
    ),
);
