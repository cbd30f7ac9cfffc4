/** The dashboard as a person uses it, in Chromium. */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Queue } from '../../src/core/queue/queue.js';
import { Worker } from '../../src/core/worker/worker.js';
import { createDashboard, type DashboardOptions, toNodeListener } from '../../src/dashboard/index.js';
import { PgStore } from '../../src/store/contract/pg-store.js';
import { browserPath, openBrowser } from '../support/browser.js';
import { startProxy, type Proxy as TcpProxy } from '../support/proxy.js';
import { insertRows, newQueue } from '../support/rows.js';
import { deferred } from '../support/until.js';
import { fill } from './fill.js';
import { useDashboard } from './support.js';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const REASON = 'skipped: this machine has no Chromium (apt-get install chromium, or CHROMIUM=/path/to/it)';
if (!browserPath) console.warn(`test/dashboard/browser.test.ts is ${REASON}`);

const PAGES: [string, string][] = [
  ['overview', '/'],
  ['queue', '/queue?queue=orders'],
  ['jobs', '/jobs?queue=orders&state=failed'],
  ['all jobs', '/jobs?queue=orders'],
  ['search', '/jobs?queue=orders&text=ann1&path=customer.id&value=3'],
  ['job', '/job?queue=orders&id=broken-3'],
  ['active job', '/job?queue=orders&id=active-2'],
  ['child', '/job?queue=images&id=b'],
  ['schedules', '/schedules'],
  ['flows', '/flows'],
  ['flow', '/flow?queue=albums&id=album-12'],
  ['empty queue', '/queue?queue=none'],
  ['no such page', '/nothing'],
];

describe.skipIf(!browserPath)(browserPath ? 'in Chromium' : `in Chromium (${REASON})`, { timeout: 60_000 }, () => {
  const dashboard = useDashboard();
  const servers: Server[] = [];
  let browser: BrowserContext;
  let page: Page;
  let base: string;
  /** What the page has complained of, such as a refused script. */
  let complaints: string[] = [];

  const serve = async (options: Partial<DashboardOptions> = {}): Promise<string> => {
    const handler = createDashboard({ store: dashboard.store, authorize: () => true, ...options });
    const server = createServer(toNodeListener(handler));
    servers.push(server);
    await new Promise<void>((started) => server.listen(0, '127.0.0.1', started));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  beforeAll(async () => {
    await fill(dashboard.store, dashboard.database);
    base = await serve();
    browser = await openBrowser({ reducedMotion: 'reduce' });
    page = await browser.newPage();
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(String(error)));
    page.on('dialog', (dialog) => {
      complaints.push(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }, 60_000);
  afterEach(async () => {
    await page.unrouteAll();
    complaints = [];
  });
  afterAll(async () => {
    await browser?.close();
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
  });

  const open = async (path: string) => {
    await page.goto(base + path);
    await page.waitForSelector('#live[data-mode=live]');
  };
  const rows = async (state: string, count: number, more: Record<string, string> = {}): Promise<string> => {
    const queue = newQueue();
    await insertRows(dashboard.database.sql, queue, count, { state: `'${state}'`, ...more });
    return queue;
  };
  const stateOf = async (queue: string, id: string) => (await dashboard.store.getJob(queue, id))?.state;
  const violations = async (run: string) => {
    const found = (await page.evaluate(run)) as { violations: { id: string; nodes: { html: string }[] }[] };
    return found.violations.map(({ id, nodes }) => [id, nodes[0]?.html]);
  };
  const button = (name: string) => page.getByRole('button', { name, exact: true });
  const told = () => page.locator('#notice').textContent();

  test.each(PAGES)(
    'the page: %s: accessible in light and dark, small, and no wider than a phone',
    async (name, path) => {
      await page.emulateMedia({ colorScheme: 'light' });
      await open(path);
      await page.evaluate(axe);
      // Polled: a refresh or a change of colours may be under way.
      const clean = (run: string) => expect.poll(() => violations(run), { timeout: 10_000 }).toEqual([]);
      await clean('axe.run()');
      await page.emulateMedia({ colorScheme: 'dark' });
      await clean(`axe.run({ runOnly: ['color-contrast'] })`);
      await page.setViewportSize({ width: 360, height: 740 });
      const beyond = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      await expect.poll(() => page.evaluate(beyond), { timeout: 10_000 }).toBeLessThanOrEqual(0);
      await clean(`axe.run({ runOnly: ['target-size', 'color-contrast'] })`);
      await page.setViewportSize({ width: 1280, height: 900 });
      // A missing page is an error to the browser, which says so.
      expect(complaints.filter((text) => !(name === 'no such page' && text.includes('404')))).toEqual([]);
    },
  );

  test.each(PAGES)('the page: %s: takes less than 150 KB, files included', async (_, path) => {
    const html = await (await fetch(base + path)).text();
    const files = [...html.matchAll(/(?:src|href)="([^"]*\/assets\/[^"]+)"/g)].map(([, file]) => file as string);
    const bodies = await Promise.all(files.map(async (file) => (await fetch(base + file)).text()));
    expect(bodies.length).toBeGreaterThanOrEqual(3);
    const bytes = [html, ...bodies].reduce((sum, body) => sum + Buffer.byteLength(body), 0);
    expect(bytes).toBeLessThan(150_000);
  });

  test('the accessibility check finds what is wrong', async () => {
    await open('/');
    await page.evaluate(`document.querySelector('main').insertAdjacentHTML('beforeend', '<button></button>')`);
    await page.evaluate(axe);
    expect((await violations('axe.run()')).map(([id]) => id)).toEqual(['button-name']);
  });

  test.each([
    ['Retry', 'failed', 'waiting', { failed_at: 'now()', failed_reason: `'on purpose'` }],
    ['Run now', 'delayed', 'waiting', { delay_until: `now() + interval '1 h'` }],
    ['Cancel', 'waiting', 'failed', {}],
    ['Remove', 'completed', undefined, { completed_at: 'now()' }],
  ] as const)('a job: %s', async (name, from, to, more) => {
    const queue = await rows(from, 1, more);
    await open(`/job?queue=${queue}&id=row-1`);
    await button(name).click();
    if (name === 'Cancel' || name === 'Remove') await page.locator('#confirm').getByRole('button', { name }).click();
    await expect.poll(() => stateOf(queue, 'row-1')).toBe(to);
    await expect.poll(told).toMatch(/1 job/);
    if (to === 'waiting') await page.waitForSelector('.head .state-waiting');
  });

  test('chosen jobs, and what is chosen stays chosen while the page is refreshed', async () => {
    const queue = await rows('failed', 3, { failed_at: `now() - i * interval '1 s'` });
    await open(`/jobs?queue=${queue}&state=failed`);
    await page.getByLabel('Select job row-1').check();
    await page.getByLabel('Select job row-3').check();
    await new Queue(queue, { store: dashboard.store }).add('another', 1);
    await page.waitForSelector('.states >> text=/Waiting\\s*1/');
    expect(await page.locator('[data-count]').textContent()).toBe('2 selected');
    await button('Retry').click();
    await page.locator('#confirm').getByRole('button', { name: 'Retry' }).click();
    await expect.poll(told).toBe('Retried 2 jobs.');
    expect(await stateOf(queue, 'row-2')).toBe('failed');
    expect(await stateOf(queue, 'row-3')).toBe('waiting');
    await expect.poll(() => page.locator('tbody tr').count()).toBe(1);
  });

  test('all that match', async () => {
    const queue = await rows('failed', 120, { failed_at: 'now()', name: `'n' || i % 2` });
    await open(`/jobs?queue=${queue}&state=failed&name=n1`);
    await page.getByLabel('All that match').check();
    await button('Remove').click();
    await page.locator('#confirm').getByRole('button', { name: 'Remove' }).click();
    await expect.poll(told).toBe('Removed 60 jobs.');
    expect(await dashboard.store.getJobCounts(queue)).toMatchObject({ failed: 60 });
  });

  test('a queue is paused and resumed', async () => {
    const queue = await rows('waiting', 1);
    await open(`/queue?queue=${queue}`);
    await button('Pause').click();
    await page.waitForSelector('.head >> text=Paused');
    await button('Resume').click();
    await expect.poll(() => button('Pause').count()).toBe(1);
    expect(await dashboard.store.getPausedJobNames(queue)).toEqual([]);
  });

  test('the filter finds what was asked for', async () => {
    await open('/jobs?queue=orders&state=waiting');
    await page.getByLabel('Name contains').fill('ship');
    await page.getByText('More filters').click();
    await page.getByLabel('Path in the data').fill('customer.id');
    await page.getByLabel('Value at the path').fill('3');
    await button('Filter').click();
    await page.waitForURL(/path=customer.id/);
    const names = await page.locator('.name-cell a').allTextContents();
    expect(names.length).toBeGreaterThan(0);
    expect(new Set(names)).toEqual(new Set(['ship']));
  });

  test('counts change without a reload, as soon as something happens', async () => {
    const queue = await rows('waiting', 1);
    await open('/');
    const cell = page.locator(`tr[data-key="${queue}"] td[data-label=Waiting]`);
    expect(await cell.textContent()).toBe('1');
    await page.evaluate('window.here = true');
    await new Queue(queue, { store: dashboard.store }).add('second', 1);
    await expect.poll(() => cell.textContent(), { timeout: 4_000 }).toBe('2');
    expect(await page.evaluate('window.here')).toBe(true);
  });

  test('without the stream the page is polled', async () => {
    const queue = await rows('waiting', 1);
    await page.route('**/events', (route) => route.abort());
    await page.goto(`${base}/queue?queue=${queue}`);
    await page.waitForSelector('#live[data-mode=polling]');
    await new Queue(queue, { store: dashboard.store }).add('second', 1);
    await expect.poll(() => page.locator('.stat .value').first().textContent(), { timeout: 15_000 }).toBe('2');
  });

  test('progress, logs and the end of a job are seen while it runs', async () => {
    const queue = new Queue(newQueue(), { store: dashboard.store });
    const steps = [deferred(), deferred()];
    const worker = new Worker(
      queue.name,
      async (job) => {
        await job.log('first line');
        await steps[0]!.promise;
        await job.log('second line');
        await job.updateProgress(60);
        await steps[1]!.promise;
        return { sum: 42 };
      },
      { store: dashboard.store },
    );
    const { id } = await queue.add('long', {});
    await open(`/job?queue=${queue.name}&id=${id}`);
    await page.waitForSelector('pre >> text=first line');
    await page.waitForSelector('.timeline >> text=Running');
    steps[0]!.resolve();
    await page.waitForSelector('pre >> text=second line');
    await page.waitForSelector('.head >> text=60 %');
    steps[1]!.resolve();
    await page.waitForSelector('.head .state-completed');
    await page.waitForSelector('pre >> text="sum": 42');
    await worker.close();
  });

  test('a flow shows the states of its jobs as they change', async () => {
    await open('/flow?queue=albums&id=album-12');
    const node = page.locator('.node', { hasText: 'images · a' });
    expect(await node.locator('.badge').textContent()).toBe('Waiting');
    const worker = new Worker('images', async () => 1, { store: dashboard.store });
    await expect.poll(() => node.locator('.badge').textContent()).toBe('Completed');
    await worker.close();
  });

  describe('while the database is away', () => {
    let proxy: TcpProxy;
    let store: PgStore;
    let url: string;

    beforeAll(async () => {
      proxy = await startProxy(dashboard.database.url);
      store = new PgStore({ connection: proxy.url, autoMigrate: false, logger: console });
      await store.connect();
      url = await serve({ store });
    });
    afterAll(async () => {
      proxy.mend();
      await store.disconnect();
      await proxy.close();
    });

    test('a page says so, keeps what it shows, and recovers', async () => {
      await page.goto(`${url}/queue?queue=orders`);
      await page.waitForSelector('#live[data-mode=live]');
      proxy.cut();
      await page.waitForSelector('#banner:not([hidden])', { timeout: 30_000 });
      expect(await page.locator('#live').textContent()).toBe('Offline');
      expect(await page.locator('h1').textContent()).toBe('orders');
      proxy.mend();
      await page.waitForSelector('#banner', { state: 'hidden', timeout: 30_000 });
      await page.waitForSelector('#live[data-mode=live]', { timeout: 30_000 });
    });

    test('a page that is opened then says why, and is there once it is back', async () => {
      proxy.cut();
      const response = await page.goto(`${url}/queue?queue=orders`);
      expect(response?.status()).toBe(503);
      expect(await page.locator('h1').textContent()).toBe('The database cannot be read');
      expect(await page.locator('.tag.bad').textContent()).toBe('CONNECTION');
      proxy.mend();
      await expect.poll(() => page.locator('h1').textContent(), { timeout: 30_000 }).toBe('orders');
    });
  });

  test('the keyboard is enough', async () => {
    const queue = await rows('failed', 2, { failed_at: `now() - i * interval '1 s'` });
    const focused = () =>
      page.evaluate(
        `document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent`,
      ) as Promise<string | null>;
    const tabTo = async (what: string) => {
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press('Tab');
        if ((await focused())?.trim() === what) return;
      }
      expect.fail(`Tab does not reach ${what}`);
    };
    await open(`/jobs?queue=${queue}&state=failed`);
    await page.keyboard.press('Tab');
    expect(await focused()).toContain('Skip');
    await page.keyboard.press('/');
    expect(await focused()).toBe('Find a job by its id');
    await page.locator('#main').focus();
    await tabTo('Select job row-2');
    await page.keyboard.press('Space');
    for (let i = 0; i < 20 && (await focused()) !== 'Retry'; i++) await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#confirm[open]');
    expect(await focused()).toContain('Keep');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await expect.poll(() => stateOf(queue, 'row-2')).toBe('waiting');

    await page.keyboard.press('/');
    await page.keyboard.type('row-1');
    await page.keyboard.press('Enter');
    await page.waitForSelector('h1 >> text=job');
  });

  test('the theme is chosen, and remembered', async () => {
    await page.emulateMedia({ colorScheme: 'light' });
    await open('/');
    const background = () => page.evaluate('getComputedStyle(document.body).backgroundColor');
    const light = await background();
    await button('Theme: auto').click();
    await button('Theme: light').click();
    expect(await background()).not.toBe(light);
    await page.reload();
    expect(await background()).not.toBe(light);
    await button('Theme: dark').click();
  });

  test('hostile names and payloads do nothing', async () => {
    const hostile = `"><img src=x onerror=alert(1)><script>alert('1')</script>`;
    const text = `'${hostile.replaceAll("'", "''")}'`;
    await insertRows(dashboard.database.sql, hostile, 1, {
      ...{ id: text, name: text, state: `'failed'`, failed_at: 'now()', failed_reason: text, group_id: text },
      ...{ data: `jsonb_build_object(${text}::text, ${text}::text)`, logs: `jsonb_build_array(${text}::text)` },
      ...{ stacktrace: `jsonb_build_array(${text}::text)`, returnvalue: `to_jsonb(${text}::text)` },
    });
    const q = encodeURIComponent(hostile);
    for (const path of [
      '/',
      `/queue?queue=${q}`,
      `/jobs?queue=${q}`,
      `/jobs?queue=${q}&state=failed`,
      `/job?queue=${q}&id=${q}`,
    ]) {
      await open(path);
      expect(await page.locator('main img, main script').count()).toBe(0);
      expect(await page.locator('body').textContent()).toContain(hostile);
    }
    expect(complaints).toEqual([]);
  });

  test('a read-only dashboard is complete but for its verbs', async () => {
    const url = await serve({ readOnly: true });
    await page.goto(`${url}/job?queue=orders&id=broken-3`);
    await page.waitForSelector('#live[data-mode=live]');
    expect(await page.locator('main button').count()).toBe(0);
    expect(await page.locator('.tag >> text=Read-only').count()).toBe(1);
  });
});
