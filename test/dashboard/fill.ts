import type postgres from 'postgres';
import { FlowProducer } from '../../src/core/queue/flow-producer.js';
import { Queue } from '../../src/core/queue/queue.js';
import type { PgStore } from '../../src/store/contract/pg-store.js';
import { insertRows } from '../support/rows.js';

/** Queues as an app has them: jobs in every state, a flow, groups, schedules and an hour of metrics. */
export async function fill(store: PgStore, { sql }: { readonly sql: postgres.Sql }): Promise<void> {
  const orders = new Queue('orders', { store });
  const person = `jsonb_build_object('orderId', 1000 + i, 'customer', jsonb_build_object('id', i % 7, 'email', 'ann' || i || '@example.com'), 'apiKey', 'key-' || i)`;
  const base = {
    name: `(array['charge', 'invoice', 'ship'])[1 + i % 3]`,
    data: person,
    opts: `'{"attempts": 3}'::jsonb`,
  };
  const ago = (seconds: string) => `now() - (${seconds}) * interval '1 second'`;
  await insertRows(sql, 'orders', 40, { ...base, id: `'waiting-' || i`, created_at: ago('400 - i * 7') });
  await insertRows(sql, 'orders', 4, {
    ...base,
    id: `'active-' || i`,
    state: `'active'`,
    progress: 'i * 20',
    lease: '1',
    created_at: ago('100'),
    processed_at: ago('i * 9'),
    locked_by: `'web-1:4711:' || i % 2`,
    lock_until: `now() + interval '1 hour'`,
  });
  await insertRows(sql, 'orders', 6, {
    ...base,
    id: `'delayed-' || i`,
    state: `'delayed'`,
    delay_until: `now() + i * interval '17 minutes'`,
  });
  await insertRows(sql, 'orders', 120, {
    ...base,
    id: `'done-' || i`,
    state: `'completed'`,
    created_at: ago('i * 31 + 9'),
    processed_at: ago('i * 31 + 3 + i % 5 * 0.3'),
    completed_at: ago('i * 31 + 2'),
    returnvalue: `'{"ok": true}'::jsonb`,
    attempt_logs: `'[{"attempt": 1, "startedAt": "2026-01-01T10:00:00.000Z", "endedAt": "2026-01-01T10:00:01.200Z", "status": "completed", "error": null, "stacktrace": null, "logs": []}]'::jsonb`,
  });
  await insertRows(sql, 'orders', 12, {
    ...base,
    id: `'broken-' || i`,
    state: `'failed'`,
    created_at: ago('i * 200 + 90'),
    processed_at: ago('i * 200 + 3'),
    failed_at: ago('i * 200'),
    attempts_made: '3',
    failed_reason: `(array['The card was declined: insufficient_funds', 'connect ETIMEDOUT 10.0.3.7:443', 'Unexpected token < in JSON at position 0'])[1 + i % 3]`,
    stacktrace: `'["Error: the card was declined\\n    at charge (/app/src/charge.ts:41:11)\\n    at async handler (/app/src/worker.ts:12:3)\\nCaused by: HttpError: 402 Payment Required\\n    at request (/app/src/http.ts:8:9)"]'::jsonb`,
    logs: `'["charging 49.90 EUR", "provider answered 402", "retrying with token=abc123secret"]'::jsonb`,
    attempt_logs: `(select jsonb_agg(jsonb_build_object('attempt', n, 'startedAt', to_char(now() - interval '9 minutes' + n * interval '1 minute', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'endedAt', to_char(now() - interval '9 minutes' + n * interval '1 minute 2 seconds', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'status', 'failed', 'error', 'The card was declined: insufficient_funds', 'stacktrace', null, 'logs', '["charging 49.90 EUR"]'::jsonb)) from generate_series(1, 3) as n)`,
  });
  await insertRows(sql, 'mail', 25, {
    name: `'newsletter'`,
    data: `jsonb_build_object('to', 'user' || i || '@example.com')`,
    id: `'mail-' || i`,
    group_id: `'tenant-' || (i % 4)`,
  });
  await insertRows(sql, 'images', 300, {
    name: `'resize'`,
    data: `jsonb_build_object('file', 'photo-' || i || '.jpg', 'width', 640)`,
    id: `'img-' || i`,
    state: `'completed'`,
    created_at: ago('i * 12 + 6'),
    processed_at: ago('i * 12 + 4'),
    completed_at: ago('i * 12'),
  });
  await sql`insert into conveyor_metrics (queue_name, job_name, granularity, period_start, completed_count, failed_count, total_process_ms)
    select q, '__all__', 'minute', date_trunc('minute', now()) - i * interval '1 minute',
      round((case q when 'orders' then 40 else 90 end) * (1.2 + sin(i / 7.0)) + i * 7 % 13)::int,
      case when q = 'orders' and i % 9 in (0, 1) then 3 + i % 4 else 0 end, 1000
    from unnest(array['orders', 'images']) q, generate_series(0, 59) i`;
  const mail = new Queue('mail', { store });
  await mail.cron(
    '0 6 * * 1-5',
    'digest',
    { list: 'all', token: 'hidden' },
    { repeat: { key: 'weekday-digest', tz: 'Europe/Berlin' } },
  );
  await orders.every('15 minutes', 'reconcile', { full: false }, { repeat: { key: 'reconcile', limit: 100 } });
  await mail.pause();
  await new FlowProducer({ store }).add({
    name: 'publish-album',
    queueName: 'albums',
    data: { album: 12 },
    opts: { jobId: 'album-12' },
    children: [
      { name: 'resize', queueName: 'images', data: { file: 'a.jpg' }, opts: { jobId: 'a' } },
      {
        name: 'assemble',
        queueName: 'albums',
        data: {},
        opts: { jobId: 'assemble-12' },
        children: [{ name: 'resize', queueName: 'images', data: { file: 'b.jpg' }, opts: { jobId: 'b' } }],
      },
    ],
  });
}
