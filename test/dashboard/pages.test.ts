import { beforeAll, describe, expect, test } from 'vitest';
import { insertRows } from '../support/rows.js';
import { fill } from './fill.js';
import { BASE, useDashboard } from './support.js';

const dashboard = useDashboard();

beforeAll(() => fill(dashboard.store, dashboard.database));

describe('the overview', () => {
  test('lists every queue with its counts', async () => {
    const html = await dashboard.make().html('/');
    for (const queue of ['orders', 'mail', 'images', 'albums']) {
      expect(html).toContain(`<a href="${BASE}/queue?queue=${queue}">${queue}</a>`);
    }
    expect(html).toContain(`<a class="ink-failed" href="${BASE}/jobs?queue=orders&amp;state=failed">12</a>`);
    expect(html).toContain('<span class="tag warn">Paused</span>');
  });

  test('is found without a slash at its end as well', async () => {
    expect((await dashboard.make().get('')).status).toBe(200);
  });
});

describe('the list of jobs', () => {
  const ids = (html: string) => [...html.matchAll(/data-key="([^"]+)"><td class="check"/g)].map(([, id]) => id);
  const next = (html: string) =>
    /rel="next" href="([^"]+)"/.exec(html)?.[1]?.replaceAll('&amp;', '&').replace(BASE, '');

  test('goes through all jobs of a state, page by page, newest end first', async () => {
    const site = dashboard.make();
    const seen: (string | undefined)[] = [];
    for (let path: string | undefined = '/jobs?queue=orders&state=completed'; path; ) {
      const html = await site.html(path);
      seen.push(...ids(html));
      path = next(html);
    }
    expect(seen).toEqual(Array.from({ length: 120 }, (_, i) => `done-${i + 1}`));
  });

  test('goes through all states, one after the other', async () => {
    const site = dashboard.make();
    const seen: (string | undefined)[] = [];
    for (let path: string | undefined = '/jobs?queue=orders'; path; ) {
      const html = await site.html(path);
      seen.push(...ids(html));
      path = next(html);
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.length).toBeGreaterThanOrEqual(40 + 4 + 6 + 120 + 12);
  });

  test.each([
    ['name=invo', 'waiting-1', 'waiting-2'],
    ['text=ann13%40', 'waiting-13', 'waiting-12'],
    ['path=customer.id&value=3', 'waiting-10', 'waiting-11'],
    ['path=orderId', 'waiting-1', undefined],
  ])('is filtered by %s', async (filter, there, notThere) => {
    const found = ids(await dashboard.make().html(`/jobs?queue=orders&state=waiting&${filter}`));
    expect(found).toContain(there);
    expect(found).not.toContain(notThere);
  });

  test('is bounded by times', async () => {
    const [second] = await dashboard.database
      .sql`select completed_at - interval '1 s' as at from conveyor_jobs where id = 'done-2'`;
    const since = (second!['at'] as Date).toISOString();
    const found = ids(await dashboard.make().html(`/jobs?queue=orders&state=completed&since=${since}`));
    expect(found).toEqual(['done-1', 'done-2']);
  });

  test('hides secrets, and does not find them', async () => {
    const site = dashboard.make();
    const html = await site.html('/jobs?queue=orders&state=waiting');
    expect(html).toContain('[redacted]');
    expect(html).not.toContain('key-13');
    expect(ids(await site.html('/jobs?queue=orders&state=waiting&text=key-13'))).toEqual([]);
    expect(await site.html('/jobs?queue=orders&state=waiting&path=apiKey&value=key-13')).toContain(
      'cannot be looked for',
    );
  });
});

describe('a queue', () => {
  test('has its run times, workers, schedules and groups', async () => {
    const site = dashboard.make();
    const orders = await site.html('/queue?queue=orders');
    expect(orders).toMatch(/Run time p50<\/dt><dd>[\d.]+ s</);
    expect(orders).toContain('web-1:4711:0');
    expect(orders).toContain('every 15 min');
    const mail = await site.html('/queue?queue=mail');
    expect(mail).toContain('tenant-3');
    expect(mail).toContain('<code>0 6 * * 1-5</code>');
    expect(mail).toContain('Resume');
  });

  test('that has nothing yet is an empty page, not an error', async () => {
    const response = await dashboard.make().get('/queue?queue=none');
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('No worker holds a job of this queue.');
  });
});

describe('a job', () => {
  test('has its error chain, attempts, data and verbs', async () => {
    const html = await dashboard.make().html('/job?queue=orders&id=broken-3');
    expect(html).toContain('Caused by: HttpError: 402 Payment Required');
    expect(html.match(/Attempt \d/g)).toEqual(['Attempt 3', 'Attempt 2', 'Attempt 1']);
    expect(html).toContain('retrying with token=[redacted]');
    expect(html).not.toMatch(/abc123secret|key-3/);
    expect([...html.matchAll(/data-verb="jobs"[^>]*>([^<]+)</g)].map(([, verb]) => verb)).toEqual(['Retry', 'Remove']);
  });

  test('is there as JSON, as the pages show it', async () => {
    const response = await dashboard.make().get('/job.json?queue=orders&id=broken-3');
    expect(response.headers.get('content-type')).toBe('application/json');
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ id: 'broken-3', data: { apiKey: '[redacted]', orderId: 1003 } });
    expect(text).not.toMatch(/abc123secret|key-3/);
  });

  test('is found by its id alone', async () => {
    const site = dashboard.make();
    const response = await site.get('/find?id=%20album-12%20');
    expect([response.status, response.headers.get('location')]).toEqual([303, `${BASE}/job?queue=albums&id=album-12`]);
    expect((await site.get('/find?id=nobody')).status).toBe(404);
    expect((await site.get('/job?queue=orders&id=nobody')).status).toBe(404);
  });

  test('takes a page of bounded size whatever it holds', async () => {
    const big = (what: string) => `jsonb_build_array(repeat('${what} "', 20000), repeat('x', 100000))`;
    await insertRows(dashboard.database.sql, 'huge', 60, {
      ...{ state: `'failed'`, failed_at: 'now()', failed_reason: `repeat('why ', 50000)`, data: big('data') },
      ...{ logs: big('log'), stacktrace: big('at'), returnvalue: big('result') },
      attempt_logs: `(select jsonb_agg(jsonb_build_object('attempt', n, 'status', 'failed', 'error', repeat('e', 5000),
        'stacktrace', repeat('s', 5000), 'logs', jsonb_build_array(repeat('l', 9000)))) from generate_series(1, 30) n)`,
    });
    const site = dashboard.make();
    for (const path of ['/job?queue=huge&id=row-1', '/jobs?queue=huge&state=failed', '/jobs?queue=huge&text=data']) {
      // Its files are 36 KB: it has no chart.
      expect((await site.html(path)).length, path).toBeLessThan(110_000);
    }
  });
});

describe('schedules and flows', () => {
  test('schedules are listed with their rules and next ticks, without secrets', async () => {
    const html = await dashboard.make().html('/schedules');
    expect(html).toContain('weekday-digest');
    expect(html).toContain('Europe/Berlin');
    expect(html.match(/<time/g)?.length).toBe(6);
  });

  test('the schedules of many queues are paged by key', async () => {
    const { sql } = dashboard.database;
    await sql`insert into conveyor_schedules (queue_name, key, job_name, data, opts, every_ms, anchor_at, tick_at)
      select 'many', 'key-' || lpad(i::text, 3, '0'), 'n', '1', '{}', 60000, now(), now() from generate_series(1, 120) i`;
    const site = dashboard.make();
    const keys: string[] = [];
    for (let path: string | undefined = '/schedules?queue=many'; path; ) {
      const html = await site.html(path);
      keys.push(...[...html.matchAll(/<small>(key-\d+)/g)].map(([, key]) => key!));
      path = /rel="next" href="([^"]+)"/.exec(html)?.[1]?.replaceAll('&amp;', '&').replace(BASE, '');
    }
    expect(keys).toHaveLength(120);
    expect(new Set(keys).size).toBe(120);
  });

  test('a flow is a tree, wherever one enters it', async () => {
    const site = dashboard.make();
    expect(await site.html('/flows')).toContain('publish-album');
    expect(await site.html('/flows')).not.toContain('>assemble<');
    for (const path of ['/flow?queue=albums&id=album-12', '/flow?queue=images&id=b', '/job?queue=images&id=b']) {
      const html = await site.html(path);
      const names = [...html.matchAll(/class="node"[^>]*><a[^>]*>([^<]+)</g)].map(([, name]) => name);
      expect(names, path).toEqual(['publish-album', 'resize', 'assemble', 'resize']);
    }
  });
});

test('jobs that end at the same moment are listed once each', async () => {
  await insertRows(dashboard.database.sql, 'ties', 130, {
    state: `'completed'`,
    completed_at: `timestamptz '2026-01-01 00:00:00.1234567'`,
  });
  const site = dashboard.make();
  const seen: (string | undefined)[] = [];
  for (let path: string | undefined = '/jobs?queue=ties&state=completed'; path; ) {
    const html = await site.html(path);
    seen.push(...[...html.matchAll(/<small>(row-\d+)/g)].map(([, id]) => id));
    path = /rel="next" href="([^"]+)"/.exec(html)?.[1]?.replaceAll('&amp;', '&').replace(BASE, '');
  }
  expect(seen.length).toBe(130);
  expect(new Set(seen).size).toBe(130);
});

test.each([
  ['an option that there is not', { base: '/x' }],
  ['a path without a slash', { basePath: 'queues' }],
  ['a path with a query', { basePath: '/queues?x' }],
  ['a path that a URL would change', { basePath: '/a/../b' }],
  ['a hook that is none', { authorize: true }],
  ['no store', { store: undefined }],
])('%s is refused', (_, options) => {
  expect(() => dashboard.make(options as object)).toThrow(/TypeError|options|createDashboard/);
});
