import { type SQLWrapper, sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import { columns, type Row, statement } from '../../db/statement.js';
import { alias, type Jobs } from '../../db/tables.js';
import { keptCount } from '../rules/retention.js';
import { firstKey, type SetAside, sparing } from '../rules/set-aside.js';
import { finishTime, inState } from '../rules/states.js';
import { CHUNK, readChunk } from './chunks.js';
import { deletion } from './delete.js';

type Ended = 'completed' | 'failed';

/** Newest ended jobs that are looked through for one with a count: those of a queue may have different options. */
const LOOKED_THROUGH = sql.raw('100');
/** Places that were examined are forgotten after this time: jobs that were locked or set aside then are met again. */
const REMEMBERED_MS = 3_600_000;

/** A place in the index of ended jobs. */
interface Place {
  /** ISO 8601 in UTC with microseconds: its order as text is that of time. */
  readonly at: string;
  readonly seq: string;
}

const exact = (time: SQLWrapper) => sql`to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

function statementsFor(state: Ended) {
  const of = (j: Jobs, queue: SQLWrapper) => {
    const time = finishTime(j, state) as SQLWrapper;
    return {
      time,
      rows: sql`${j.queueName} = ${queue} and ${inState(j, state)} and ${time} is not null`,
      newestFirst: sql`order by ${time} desc, ${j.seq} desc`,
      place: sql`(${time}, ${j.seq})`,
    };
  };
  const placeOf = (at: SQLWrapper, seq: SQLWrapper) => sql`(${at}::timestamptz, ${seq}::bigint)`;
  return {
    state,
    /** Of each queue with a count: the last job within it. */
    bounds: statement(
      `trim ${state} bounds`,
      ['queues'],
      (db, p) => {
        const j = alias(db.jobs, 'j');
        const { time, rows, newestFirst } = of(j, sql`q.name`);
        return sql`
          select ${columns(sql`q.name`, exact(sql`b.at`), sql`b.seq`)}
          from jsonb_array_elements_text(${p.queues}::jsonb) as q(name)
          cross join lateral (
            select newest.kept from (
              select ${keptCount(j, state)} as kept, row_number() over () as place from (
                select * from ${db.jobs} as ${j} where ${rows} ${newestFirst} limit ${LOOKED_THROUGH}) ${j}) newest
            where newest.kept > 0 order by newest.place limit 1) n
          cross join lateral (
            select ${time} as at, ${j.seq} as seq from ${db.jobs} as ${j} where ${rows} ${newestFirst}
            offset n.kept - 1 limit 1) b`;
      },
      { repeatable: true },
    ),
    /** The last of the next older jobs, and whether any of these has a count. */
    window: statement(
      `trim ${state} window`,
      ['queue', 'at', 'seq', 'limit'],
      (db, p) => {
        const j = alias(db.jobs, 'j');
        const { time, rows, newestFirst, place } = of(j, p.queue);
        return sql`
          with older as materialized (
            select ${time} as at, ${j.seq} as seq, ${keptCount(j, state)} is not null as counted
            from ${db.jobs} as ${j} where ${rows} and ${place} < ${placeOf(p.at, p.seq)} ${newestFirst} limit ${p.limit}::int)
          select ${columns(exact(sql`o.at`), sql`o.seq`, sql`(select bool_or(counted) from older)`)}
          from older o order by o.at, o.seq limit 1`;
      },
      { repeatable: true },
    ),
    /** The jobs of a window that have a count. One without is kept, whatever others of its queue say. */
    beyond: deletion<'queue' | 'at' | 'seq' | 'endAt' | 'endSeq'>({
      name: `trim ${state}`,
      params: ['queue', 'at', 'seq', 'endAt', 'endSeq'],
      ended: true,
      where: (j, p) => {
        const { rows, place } = of(j, p.queue);
        return sql`${rows} and ${place} < ${placeOf(p.at, p.seq)} and ${place} >= ${placeOf(p.endAt, p.endSeq)}
          and ${keptCount(j, state)} is not null`;
      },
      order: (j) => sql`${finishTime(j, state) as SQLWrapper}, ${j.seq}`,
    }),
  };
}

const STATEMENTS = [statementsFor('completed'), statementsFor('failed')];
type Statements = (typeof STATEMENTS)[number];

/**
 * Deletes ended jobs beyond the `count` of their retention. It goes down from the last job that is within the count, as
 * far as there is anything to delete, and to where it began the last time: what lies deeper has been examined. So its
 * cost is that of stepping over `count` entries of an index and of what has ended since, however long the history.
 */
export class Trimmer {
  readonly #executor: () => Executor;
  readonly #aside: SetAside;
  #examined = new Map<string, Place>();
  #remembersSince = performance.now();

  constructor(executor: () => Executor, aside: SetAside) {
    this.#executor = executor;
    this.#aside = aside;
  }

  async run(queues: readonly string[]): Promise<void> {
    if (queues.length === 0) return;
    if (performance.now() - this.#remembersSince > REMEMBERED_MS) {
      this.#examined = new Map();
      this.#remembersSince = performance.now();
    }
    for (const statements of STATEMENTS) {
      const bounds = await this.#executor().run(statements.bounds, { queues: JSON.stringify(queues) });
      for (const [queue, ...place] of bounds) await this.#trim(statements, queue as string, placeIn(place));
    }
  }

  async #trim(statements: Statements, queue: string, bound: Place): Promise<void> {
    const key = `${statements.state} ${queue}`;
    const examined = this.#examined.get(key);
    for (let from = bound; ; ) {
      const [row] = await this.#executor().run(statements.window, { queue, ...from, limit: CHUNK });
      if (!row) break;
      const end = placeIn(row);
      const deleted = row[2] === 'true' ? await this.#delete(statements, queue, from, end) : 0;
      if (deleted === 0 && (!examined || isUpTo(end, examined))) break;
      from = end;
    }
    this.#examined.set(key, bound);
  }

  async #delete({ beyond }: Statements, queue: string, from: Place, end: Place): Promise<number> {
    const params = { queue, ...from, endAt: end.at, endSeq: end.seq };
    const next = () =>
      sparing({
        work: async (limit, skip) => readChunk(await this.#executor().run(beyond.skipping, { ...params, limit, skip })),
        head: async (skip) => firstKey(await this.#executor().run(beyond.head, { ...params, skip })),
        limit: CHUNK,
        aside: this.#aside,
      });
    let deleted = 0;
    for (let chunk = await next(); chunk.picked > 0; chunk = await next()) deleted += chunk.count;
    return deleted;
  }
}

const placeIn = ([at, seq]: Row): Place => ({ at: at as string, seq: seq as string });

const isUpTo = (a: Place, b: Place) => a.at < b.at || (a.at === b.at && Number(a.seq) <= Number(b.seq));
