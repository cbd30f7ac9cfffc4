/**
 * Storage parameters of the jobs table, which a Drizzle schema cannot express. Our own migrator sets them when it makes
 * the tables; without them everything works, at about a quarter more WAL and some more work for vacuum.
 *
 * `fillfactor`: a job is written three times in its life, and an update that finds room on its row's page logs only
 * what changed. Vacuum: a hot table next to big ones must not wait for a fifth of its history to be dead.
 */
export const TUNING: readonly string[] = [
  'alter table "conveyor_jobs" set (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, ' +
    'autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0)',
];
