import type postgres from 'postgres';

/**
 * What handlers have done, written by themselves, and what callers were told: judged by plain SQL over these tables and
 * the documented columns of `conveyor_jobs`, with nothing of the store.
 */
export interface Oracle {
  readonly sql: postgres.Sql;
  /** Handlers that have begun so far. */
  runs(): Promise<number>;
  /** Jobs of `ids` with no row in `conveyor_jobs` that no handler has finished either: lost. */
  lost(ids: Iterable<string>): Promise<string[]>;
  /** Jobs of `ids` that are there and not completed. */
  notCompleted(ids: Iterable<string>): Promise<string[]>;
  /** Jobs of `ids` with fewer effects than `least`, or more than `most`. */
  effectsOutside(ids: Iterable<string>, least: number, most: number): Promise<string[]>;
  /** Jobs of all queues that have not ended. */
  unended(): Promise<number>;
  /** How many handlers of a queue (of one group) were under way at once, at most, from `since` on. */
  peak(queue: string, options?: { byGroup?: boolean; since?: number }): Promise<number>;
  /** How many jobs of a queue (of one group) were claimed within `ms`, at most. */
  claimsWithin(queue: string, ms: number, options?: { byGroup?: boolean }): Promise<number>;
  /** The process is dead: what it ran ended at `time`. */
  died(pid: number, time: number): Promise<unknown>;
  /** Milliseconds since 1970 by the server's clock. */
  now(): Promise<number>;
}

/** A run is one call of a handler; an effect is what it does to the world; a due job was
 * added with a delay that ends, by the server's clock, no earlier and no later. */
const TABLES = `
  create table drill_run (n bigserial primary key, run text unique, queue text, job_id text, tag text, grp text, pid int,
    claimed timestamptz, began timestamptz not null default clock_timestamp(), ended timestamptz, aborted timestamptz, why text);
  create index on drill_run (job_id);
  create table drill_effect (job_id text, run text, at timestamptz not null default clock_timestamp());
  create index on drill_effect (job_id);
  create table drill_write (run text, job_id text, kind text, asked timestamptz, accepted boolean, code text);
  create table drill_due (job_id text, earliest timestamptz, latest timestamptz)`;

const list = (ids: Iterable<string>) => JSON.stringify([...ids]);

export async function makeOracle(sql: postgres.Sql): Promise<Oracle> {
  await sql.unsafe(TABLES);
  const names = async (rows: PromiseLike<readonly Record<string, unknown>[]>) =>
    (await rows).map((row) => String(row['id']));
  return {
    sql,
    runs: async () => Number((await sql`select coalesce(max(n), 0) as n from drill_run`)[0]?.['n']),
    lost: (ids) =>
      names(sql`select id from jsonb_array_elements_text(${list(ids)}::text::jsonb) as a(id)
        where not exists (select from conveyor_jobs j where j.id = a.id)
          and not exists (select from drill_effect e where e.job_id = a.id)`),
    notCompleted: (ids) =>
      names(sql`select a.id || ' ' || j.state || ' ' || coalesce(j.failed_reason, '') as id
        from jsonb_array_elements_text(${list(ids)}::text::jsonb) as a(id)
        join conveyor_jobs j on j.id = a.id where j.state <> 'completed'`),
    effectsOutside: (ids, least, most) =>
      names(sql`select a.id || ': ' || e.n as id from jsonb_array_elements_text(${list(ids)}::text::jsonb) as a(id),
        lateral (select count(*) as n from drill_effect where job_id = a.id) e where e.n < ${least} or e.n > ${most}`),
    unended: async () =>
      Number((await sql`select count(*) as n from conveyor_jobs where state not in ('completed', 'failed')`)[0]?.['n']),
    peak: async (queue, { byGroup = false, since = 0 } = {}) => {
      const [row] = await sql`
        with step as (
          select n, grp, began as at, 1 as by from drill_run where queue = ${queue}
          union all select n, grp, coalesce(ended, clock_timestamp()), -1 from drill_run where queue = ${queue}),
        level as (select at, sum(by) over (partition by case when ${byGroup} then grp end order by at, by) as n from step)
        select coalesce(max(n), 0) as n from level where at >= to_timestamp(${since / 1000})`;
      return Number(row?.['n']);
    },
    claimsWithin: async (queue, ms, { byGroup = false } = {}) => {
      const [row] = await sql`
        select coalesce(max(n), 0) as n from (select count(*) over (partition by case when ${byGroup} then grp end
          order by claimed range between current row and (${ms - 1} * interval '1 ms') following) as n
        from (select distinct job_id, grp, claimed from drill_run where queue = ${queue}) claims) windows`;
      return Number(row?.['n']);
    },
    died: (pid, time) =>
      sql`update drill_run set ended = greatest(began, to_timestamp(${time / 1000})) where pid = ${pid} and ended is null`,
    now: async () => Number((await sql`select extract(epoch from clock_timestamp()) * 1000 as t`)[0]?.['t']),
  };
}
