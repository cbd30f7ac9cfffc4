import { type SQL, sql } from 'drizzle-orm';
import { isDeduplicationConflict } from '../../db/errors.js';
import type { Executor } from '../../db/executor.js';
import { columns, type Statement, statement } from '../../db/statement.js';
import { alias, bare, type Jobs, type Tables } from '../../db/tables.js';
import { oneOf, validateQueueName } from '../../model/options/names.js';
import {
  type BulkResult,
  CHUNK,
  type Chunk,
  chunkColumns,
  combine,
  cutoff,
  inChunks,
  readChunk,
} from '../remove/chunks.js';
import { holdsKey, retryOnKeyConflict } from '../rules/deduplication.js';
import { startOver } from '../rules/start-over.js';
import { finishTime, inState, live, stillIn } from '../rules/states.js';

type Ended = 'failed' | 'completed';
/**
 * The passes of a retry. Children go before their parents, so that a parent counts those that run again; jobs whose
 * parents form a circle go last.
 */
type Turn = 'childless' | 'after its children' | 'left over';

/** Each parent locks all of its children. */
const PARENTS_CHUNK = 50;
const SIZES: Record<Turn, number> = { childless: CHUNK, 'after its children': PARENTS_CHUNK, 'left over': 1 };
type Params = 'queue' | 'seq' | 'limit' | 'drop';

const FRESH = { pendingChildren: sql`fresh.pending`, deduplicationKey: sql`fresh.key`, seq: sql`fresh.place` };

/**
 * Starts a chunk of ended jobs over. In the order of their insertion they take new places behind those that wait.
 *
 * Children are locked before parents, as everywhere: first the children of the chunk's jobs, then these, then their own
 * parents, whose state is read once they are locked. A child that ends meanwhile has either ended before it is counted
 * here, or finds its parent waiting for it.
 */
function retryStatement(state: Ended, turn: Turn, wait: boolean): Statement<Params> {
  return statement(`retry ${state}, ${turn}${wait ? ' (held)' : ''}`, ['queue', 'seq', 'limit', 'drop'], (db, p) => {
    const j = alias(db.jobs, 'j');
    const finish = finishTime(j, state) as SQL;
    const ended = sql`${j.queueName} = ${p.queue} and ${inState(j, state)} and abs(${j.seq}) < ${p.seq}::bigint`;
    const rest = sql`from ${db.jobs} as ${j} where ${ended}${mayGo(db, j, state, turn)} order by ${finish}, ${j.seq}`;
    const lock = sql`for update${wait ? sql`` : sql` skip locked`}`;
    const mine = sql`${j}.ctid, ${j.id} as id, ${j.priority} as priority, ${j.seq} as seq, ${j.deduplicationKey} as dedup`;
    const picked =
      turn === 'childless'
        ? sql`picked as materialized (select ${mine} ${rest} limit ${p.limit}::int ${lock})`
        : sql`
          candidates as materialized (select ${j}.ctid, ${j.id} as id ${rest} limit ${p.limit}::int),
          ${lockedChildren(db, p.queue)},
          picked as materialized (
            select ${mine} from ${db.jobs} as ${j}
            where (select count(*) from children) >= 0 and ${j}.ctid = any(array(select ctid from candidates)) and ${stillIn(j, state)}
            order by ${j.id} ${lock})`;
    return sql`
      with ${picked},
      placed as materialized (select o.*, ${db.nextSeq} as place from (select * from picked order by priority, seq) o),
      fresh as materialized (
        select placed.*, ${
          turn === 'childless'
            ? sql`0`
            : sql`(select count(*) from children c
            where c.parent_id = placed.id and ${live(sql`c.state`)})::int`
        } as pending,
          case when ${p.drop} is null and row_number() over (partition by dedup order by place) = 1 and not ${keyHeld(db, p.queue)}
            then dedup end as key
        from placed),
      retried as (
        update ${db.jobs} as ${j} set ${startOver(db, FRESH)} from fresh
        where ${j}.ctid = any(array(select ctid from fresh)) and ${j}.ctid = fresh.ctid and ${stillIn(j, state)}
        returning ${j.parentQueueName} as parent_q, ${j.parentId} as parent_id),
      ${countedAgain(db)}
      select ${columns(...chunkColumns(sql`retried`, rest))}`;
  });
}

/**
 * A probe of one index per job, whatever the planner estimates: a subquery with LIMIT is not turned into a join, and a
 * condition inside a CASE cannot choose another index.
 */
function mayGo(db: Tables, j: Jobs, state: Ended, turn: Turn): SQL {
  if (turn === 'left over') return sql``;
  const c = alias(db.jobs, 'c');
  const first = sql`(case when ${c.queueName} = ${j.queueName} and ${inState(c, state)} then true else false end)`;
  return sql` and (select true from ${db.jobs} as ${c}
    where ${c.parentId} = ${j.id} and ${c.parentQueueName} = ${j.queueName}${turn === 'childless' ? sql`` : sql` and ${first}`}
    limit 1) is null`;
}

/** All of them, also those that have ended: another transaction may be retrying them. */
function lockedChildren(db: Tables, queue: SQL): SQL {
  const c = alias(db.jobs, 'c');
  return sql`children as materialized (
    select n.id as parent_id, child.state from candidates n cross join lateral (
      select ${c.state} as state from ${db.jobs} as ${c}
      where ${c.parentId} = n.id and ${c.parentQueueName} = ${queue}
      order by ${c.queueName}, ${c.id} for update) child)`;
}

function keyHeld(db: Tables, queue: SQL): SQL {
  const h = alias(db.jobs, 'h');
  return sql`exists (select 1 from ${db.jobs} as ${h}
    where ${h.queueName} = ${queue} and ${h.deduplicationKey} = placed.dedup and ${holdsKey(h)})`;
}

/** A parent that waits for children still has one more to wait for. */
function countedAgain(db: Tables): SQL {
  const g = alias(db.jobs, 'g');
  const col = bare(db.jobs);
  return sql`
    waiting_parents as materialized (
      select ${g.queueName} as q, ${g.id} as id, ${g.state} as state, r.n
      from (select parent_q, parent_id, count(*)::int as n from retried where parent_id is not null group by 1, 2) r
      join ${db.jobs} as ${g} on ${g.queueName} = r.parent_q and ${g.id} = r.parent_id
      order by ${g.queueName}, ${g.id} for update of g),
    counted as (
      update ${db.jobs} as ${g} set ${col.pendingChildrenCount} = ${g.pendingChildrenCount} + e.n
      from waiting_parents e where ${g.queueName} = e.q and ${g.id} = e.id and e.state = 'waiting-children'
      returning 1)`;
}

const TURNS: readonly Turn[] = ['childless', 'after its children', 'left over'];
const statementsFor = (state: Ended) =>
  TURNS.map((turn) => ({
    size: SIZES[turn],
    skipping: retryStatement(state, turn, false),
    waiting: retryStatement(state, turn, true),
  }));
const STATEMENTS = { failed: statementsFor('failed'), completed: statementsFor('completed') };

/**
 * Starts all failed, or all completed, jobs over that exist when it is called. A job whose deduplication key another job
 * has taken, or gets in the same call, loses it.
 */
export async function retryJobs(executor: Executor, queueName: string, state: Ended): Promise<BulkResult> {
  const queue = validateQueueName(queueName);
  oneOf(state, 'state', ['failed', 'completed']);
  const { seq } = await cutoff(executor);
  const done: BulkResult[] = [];
  for (const { size, skipping, waiting } of STATEMENTS[state]) {
    const work = (limit: number, wait: boolean) =>
      retryChunk(executor, wait ? waiting : skipping, { queue, seq, limit });
    done.push(await inChunks({ work, size }));
  }
  return combine(...done);
}

/**
 * Another job may take a key between this statement's snapshot and its write. Then a smaller chunk is tried, so that
 * some jobs succeed where keys are taken all the time; a single job finally loses its key.
 */
async function retryChunk(
  executor: Executor,
  statement: Statement<Params>,
  values: { queue: string; seq: number; limit: number },
): Promise<Chunk> {
  for (let { limit } = values; limit > 1; limit = Math.ceil(limit / 10)) {
    try {
      return readChunk(await executor.run(statement, { ...values, limit, drop: null }));
    } catch (error) {
      if (!isDeduplicationConflict(error)) throw error;
    }
  }
  return readChunk(await retryOnKeyConflict((drop) => executor.run(statement, { ...values, limit: 1, drop })));
}
