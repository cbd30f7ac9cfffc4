import type postgres from 'postgres';

/**
 * Fills the tables with jobs in all states, so that plans look as they do in production: four queues, of which one has
 * groups and one a paused name, flows, schedules and a day of metrics.
 *
 * Of a hundred jobs of a queue, 60 are completed, 5 failed, 4 delayed, 1 is a parent that waits for its 2 children, and
 * the others are waiting; one in a thousand is active.
 */
export async function fillTables(sql: postgres.Sql, rows: number): Promise<void> {
  await sql`
    insert into conveyor_jobs (queue_name, id, name, data, opts, created_at, group_id, parent_id, parent_queue_name,
      children_ids, schedule_key, deduplication_key, pending_children_count, priority, lease, attempts_made, state,
      locked_by, lock_until, delay_until, processed_at, completed_at, failed_at, returnvalue, failed_reason,
      attempt_logs, remove_at)
    select 'queue-' || q, 'job-' || i, 'name-' || i % 5, jsonb_build_object('userId', i, 'text', repeat('x', 120)),
      '{"attempts": 3}', added, case when q = 3 then 'group-' || b % 500 end,
      case when n in (70, 71) then 'job-' || i - 4 * (n - 69) end, case when n in (70, 71) then 'queue-' || q end,
      case when n = 69 then jsonb_build_array('job-' || i + 4, 'job-' || i + 8) else '[]' end,
      case when n = 65 then 'schedule-' || b / 100 % 50 end, case when n = 80 then 'key-' || i end,
      case when n = 69 then 2 else 0 end, case when i % 10 = 0 then 5 else 0 end,
      case when state in ('active', 'completed', 'failed') then 1 else 0 end,
      case when state in ('completed', 'failed') then 1 else 0 end, state,
      case state when 'active' then 'worker-' || b % 20 end,
      case state when 'active' then now() + b % 30 * interval '1 s' end,
      case state when 'delayed' then now() + (b * 37 % 86400 - 60) * interval '1 s' end,
      case when state in ('active', 'completed', 'failed') then added + interval '1 s' end,
      case state when 'completed' then added + interval '2 s' end,
      case state when 'failed' then added + interval '2 s' end,
      case state when 'completed' then '{"sent": true}'::jsonb end, case state when 'failed' then 'on purpose' end,
      case when state in ('completed', 'failed') then '[{"attempt": 1, "status": "completed"}]'::jsonb else '[]' end,
      case when n < 6 then now() + b * interval '1 s' end
    from generate_series(0, ${rows - 1}::int) as i
      cross join lateral (select i % 4 as q, i / 4 as b, i / 4 % 100 as n) as place
      cross join lateral (select now() - (${rows}::int - i) * interval '1 s' as added, case
        when n < 60 then 'completed' when n < 65 then 'failed' when n < 69 then 'delayed'
        when n = 69 then 'waiting-children' when b % 1000 = 72 then 'active' else 'waiting' end as state) as life`;
  await sql`
    insert into conveyor_schedules (queue_name, key, job_name, data, opts, every_ms, anchor_at, tick_at)
    select 'queue-' || q, 'schedule-' || i, 'name-' || i % 5, '{}', '{}', 60000, now(), now() + i * interval '1 s'
    from generate_series(0, 3) as q, generate_series(0, 49) as i`;
  await sql`
    insert into conveyor_metrics (queue_name, job_name, granularity, period_start, completed_count, total_process_ms)
    select 'queue-' || q, name, granularity, at, 100, 5000
    from generate_series(0, 3) as q,
      (select 'name-' || i as name from generate_series(0, 4) as i union all select '__all__') as names,
      (select 'minute' as granularity, at
        from generate_series(date_trunc('hour', now()) - interval '1 day', now(), interval '1 minute') as at
      union all select 'hour', at
        from generate_series(date_trunc('hour', now()) - interval '14 days', now(), interval '1 hour') as at) as periods`;
  await sql`
    insert into conveyor_group_cursors (queue_name, group_id, last_served_at, served_seq, listed)
    select 'queue-3', 'group-' || i, now(), i, true from generate_series(0, 499) as i`;
  await sql`insert into conveyor_rate_limits (queue_name) select 'queue-' || q from generate_series(0, 3) as q`;
  await sql`insert into conveyor_paused_names (queue_name, job_name) values ('queue-2', 'name-4')`;
  await sql`vacuum (analyze)`.simple();
}
