/**
 * Writes the pictures of docs/images: `npm run screenshots`, on a machine with Chromium. The pages show an embedded
 * Postgres with invented jobs. With an argument they go to that folder instead.
 */
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import type { Page } from 'playwright-core';
import postgres from 'postgres';
import { createDashboard, toNodeListener } from '../src/dashboard/index.js';
import { PgStore } from '../src/index.js';
import { fill } from '../test/dashboard/fill.js';
import { openBrowser } from '../test/support/browser.js';
import { startEmbedded } from '../test/support/embedded.js';

const target = resolve(process.argv[2] ?? resolve(import.meta.dirname, '../docs/images'));
mkdirSync(target, { recursive: true });

const PAGES = {
  overview: '/',
  queue: '/queue?queue=orders',
  jobs: '/jobs?queue=orders&state=failed',
  job: '/job?queue=orders&id=broken-3',
  flow: '/flow?queue=albums&id=album-12',
  schedules: '/schedules',
};

const server = await startEmbedded({ durable: false });
const sql = postgres(server.url, { max: 2, onnotice: () => {} });
const store = new PgStore({ connection: server.url, metrics: { enabled: true } });
await store.connect();
await fill(store, { sql });
const http = createServer(toNodeListener(createDashboard({ store, authorize: () => true })));
await new Promise<void>((started) => http.listen(0, '127.0.0.1', started));
const base = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;

try {
  for (const colorScheme of ['light', 'dark'] as const) {
    const browser = await openBrowser({ colorScheme, viewport: { width: 1200, height: 860 } });
    const page = await browser.newPage();
    for (const [name, path] of Object.entries(PAGES)) await shoot(page, path, `${name}-${colorScheme}`);
    await page.setViewportSize({ width: 390, height: 844 });
    for (const [name, path] of Object.entries(PAGES)) await shoot(page, path, `${name}-phone-${colorScheme}`);
    await browser.close();
  }
} finally {
  http.closeAllConnections();
  http.close();
  await store.disconnect();
  await sql.end({ timeout: 1 });
  await server.stop();
}

async function shoot(page: Page, path: string, name: string): Promise<void> {
  await page.goto(base + path);
  await page.waitForSelector('#live[data-mode=live]');
  await page.screenshot({ path: resolve(target, `${name}.png`) });
}
