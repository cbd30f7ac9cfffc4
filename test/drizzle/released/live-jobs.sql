-- Jobs in the midst of their lives, in the columns of the first release: later ones add columns, and rename none.
insert into conveyor_jobs
  (queue_name, id, name, data, opts, state, created_at, attempts_made, lease, locked_by, lock_until, delay_until,
   processed_at, completed_at, failed_at, failed_reason, returnvalue, deduplication_key, group_id, parent_id,
   parent_queue_name, children_ids, pending_children_count, schedule_key)
values
  ('live', 'waiting', 'echo', '{"n": 1, "text": "10.5"}', '{}', 'waiting', now(), 0, 0, null, null, null, null, null, null, null, null, 'once', 'g', null, null, '[]', 0, null),
  ('live', 'delayed', 'echo', '2', '{"delay": 1}', 'delayed', now(), 0, 0, null, null, now(), null, null, null, null, null, null, null, null, null, '[]', 0, null),
  ('live', 'stalled', 'echo', '3', '{}', 'active', now(), 0, 1, 'a worker that is gone', now() - interval '1 minute', null, now(), null, null, null, null, null, null, null, null, '[]', 0, null),
  ('live', 'retried', 'echo', '4', '{"attempts": 3}', 'delayed', now(), 1, 1, null, null, now(), now(), null, null, 'at first', null, null, null, null, null, '[]', 0, null),
  ('live', 'parent', 'sum', 'null', '{}', 'waiting-children', now(), 0, 0, null, null, null, null, null, null, null, null, null, null, null, null, '["child", "done child"]', 1, null),
  ('live', 'child', 'echo', '5', '{}', 'waiting', now(), 0, 0, null, null, null, null, null, null, null, null, null, null, 'parent', 'live', '[]', 0, null),
  ('live', 'done child', 'echo', '6', '{}', 'completed', now(), 0, 1, null, null, null, now(), now(), null, null, '6', null, null, 'parent', 'live', '[]', 0, null),
  ('live', 'failed', 'echo', '7', '{}', 'failed', now(), 1, 1, null, null, null, now(), null, now(), 'for good', null, null, null, null, null, '[]', 0, null),
  ('live', 'tick', 'echo', '8', '{"repeat": {"every": 3600000}}', 'delayed', now(), 0, 0, null, null, now() + interval '1 hour', null, null, null, null, null, null, null, null, null, '[]', 0, 'hourly'),
  ('live', 'paused', 'held', '9', '{}', 'waiting', now(), 0, 0, null, null, null, null, null, null, null, null, null, null, null, null, '[]', 0, null);
insert into conveyor_paused_names (queue_name, job_name) values ('live', 'held');
insert into conveyor_schedules (queue_name, key, job_name, data, opts, every_ms, anchor_at, tick_at)
values ('live', 'hourly', 'echo', '8', '{"repeat": {"every": 3600000}}', 3600000, now(), now() + interval '1 hour');
insert into conveyor_metrics (queue_name, job_name, granularity, period_start, completed_count, total_process_ms)
values ('live', '__all__', 'hour', date_trunc('hour', now()) - interval '2 hours', 7, 700);
