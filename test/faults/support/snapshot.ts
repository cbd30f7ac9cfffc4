import type postgres from 'postgres';

/**
 * What there is of a queue, without ids and times: two runs of one operation on equal scenes give equal texts. Only
 * documented columns.
 */
export async function snapshot(sql: postgres.Sql, queueName: string): Promise<string> {
  const [row] = await sql`select jsonb_build_object(
    'jobs', (select coalesce(jsonb_agg(job order by job::text), '[]') from (
      select jsonb_build_object('name', name, 'data', data, 'state', state, 'priority', priority, 'attempts', attempts_made,
        'progress', progress, 'result', returnvalue, 'reason', failed_reason, 'logs', logs, 'group', group_id,
        'key', deduplication_key, 'discarded', discarded, 'pending', pending_children_count, 'parent', parent_id is not null,
        'cancelled', cancelled_at is not null, 'locked', locked_by is not null, 'records', jsonb_array_length(attempt_logs),
        'delayed', delay_until > clock_timestamp()) as job
      from conveyor_jobs where queue_name = ${queueName}) jobs),
    'schedules', (select count(*) from conveyor_schedules where queue_name = ${queueName}),
    'paused', (select coalesce(jsonb_agg(job_name order by job_name), '[]') from conveyor_paused_names
      where queue_name = ${queueName}))::text as state`;
  return String(row?.['state']);
}
