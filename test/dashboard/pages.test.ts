import { beforeAll, describe, expect, test } from 'vitest';
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
