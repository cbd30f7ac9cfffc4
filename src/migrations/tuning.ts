/**
 * Storage parameters of the jobs table, which a Drizzle schema cannot express. This package's migrator sets them when it
 * creates the tables. They are optional: without them there is about a quarter more WAL and more work for vacuum.
 *
 * `fillfactor`: a job is written three times in its life, and an update that finds room on the same page logs only what
 * has changed. Autovacuum: the default waits until a fifth of the table is dead, which for a table with a long history
 * is far too late for the few rows that change all the time.
 */
export const TUNING: readonly string[] = [
  'alter table "conveyor_jobs" set (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, ' +
    'autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)',
];
