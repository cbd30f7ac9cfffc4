/** The dashboard in servers, as docs/dashboard.md mounts it. */
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { Hono } from 'hono';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createDashboard, toNodeListener } from '../../src/dashboard/index.js';
import { insertRows, newQueue } from '../support/rows.js';
import { until } from '../support/until.js';
import { BASE, useDashboard } from './support.js';

const dashboard = useDashboard();
const servers: Server[] = [];
let queue: string;

beforeAll(async () => {
  queue = newQueue('mounted');
  await insertRows(dashboard.database.sql, queue, 9);
});
afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections();
});

const make = () => createDashboard({ store: dashboard.store, basePath: BASE, authorize: () => true });

async function listening(server: Server): Promise<string> {
  servers.push(server);
  await until(() => server.listening);
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

type Fetch = (path: string, init?: RequestInit) => Promise<Response>;

const SERVERS: [string, () => Promise<Fetch>][] = [
  [
    'Hono',
    async () => {
      const app = new Hono();
      const handler = make();
      app.all(`${BASE}/*`, (c) => handler(c.req.raw));
      return async (path, init) => app.fetch(new Request(`http://hono.test${path}`, init));
    },
  ],
  [
    'Express',
    async () => {
      const app = express();
      app.use(BASE, toNodeListener(make()));
      const base = await listening(app.listen(0, '127.0.0.1'));
      return (path, init) => fetch(base + path, init);
    },
  ],
  [
    'Express behind a body parser',
    async () => {
      const app = express();
      app.use(express.json());
      app.use(BASE, toNodeListener(make()));
      const base = await listening(app.listen(0, '127.0.0.1'));
      return (path, init) => fetch(base + path, init);
    },
  ],
  [
    'node:http',
    async () => {
      const base = await listening(createServer(toNodeListener(make())).listen(0, '127.0.0.1'));
      return (path, init) => fetch(base + path, init);
    },
  ],
];

describe.each(SERVERS)('in %s', (_, start) => {
  test('pages, files, verbs and the stream are served', async () => {
    const fetchIt = await start();
    for (const path of [BASE, `${BASE}/`]) {
      const response = await fetchIt(path);
      expect(response.status, path).toBe(200);
      const html = await response.text();
      expect(html).toContain(`${BASE}/queue?queue=${queue}`);
      const [, script] = /src="([^"]*dashboard\.js)"/.exec(html) as unknown as [string, string];
      expect((await fetchIt(script)).headers.get('content-type')).toContain('text/javascript');
    }
    expect((await fetchIt(`${BASE}/queue?queue=${queue}`)).status).toBe(200);
    expect((await fetchIt(`${BASE}/nothing`)).status).toBe(404);

    const [job] = await dashboard.store.listJobs(queue, 'waiting', 0, 1);
    const origin = new URL((await fetchIt(BASE)).url || 'http://hono.test').origin;
    const verb = await fetchIt(`${BASE}/api/jobs`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin },
      body: JSON.stringify({ verb: 'cancel', queue, ids: [job?.id] }),
    });
    expect(await verb.json()).toMatchObject({ done: 1 });
    expect(await dashboard.store.getJob(queue, job!.id)).toMatchObject({ state: 'failed' });

    const left = new AbortController();
    const stream = await fetchIt(`${BASE}/events`, { signal: left.signal });
    const { value } = await stream.body!.getReader().read();
    expect(new TextDecoder().decode(value)).toContain('event: hello');
    left.abort();
    await expect.poll(() => dashboard.store.engine.notifier.channels()).toEqual([]);
  });
});

test.each([
  `app.all('/admin/queues/*', (c) => dashboard(c.req.raw));`,
  `app.use('/admin/queues', toNodeListener(dashboard));`,
  'createServer(toNodeListener(dashboard)).listen(3000);',
])('docs/dashboard.md says the same: %s', (line) => {
  expect(readFileSync('docs/dashboard.md', 'utf8')).toContain(line);
});
