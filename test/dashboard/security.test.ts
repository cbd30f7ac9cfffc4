import { beforeAll, describe, expect, test } from 'vitest';
import { createDashboard } from '../../src/dashboard/index.js';
import { insertRows } from '../support/rows.js';
import { BASE, HOST, Site, useDashboard } from './support.js';

const dashboard = useDashboard();
const HOSTILE = `"><img src=x onerror=alert(1)><script>alert('1')</script>`;

beforeAll(async () => {
  const { sql } = dashboard.database;
  const text = `'${HOSTILE.replaceAll("'", "''")}'`;
  await insertRows(sql, HOSTILE, 1, {
    id: text,
    name: text,
    data: `jsonb_build_object(${text}::text, ${text}::text)`,
    state: `'failed'`,
    failed_reason: text,
    failed_at: 'now()',
    group_id: text,
    logs: `jsonb_build_array(${text}::text)`,
    stacktrace: `jsonb_build_array(${text}::text)`,
    returnvalue: `to_jsonb(${text}::text)`,
  });
  await insertRows(sql, 'safe', 2);
});

const cancel = { verb: 'cancel', queue: 'safe', ids: ['row-1'] };

describe('a write', () => {
  test.each([
    ['of another site', { 'sec-fetch-site': 'cross-site' }],
    ['of a sibling domain', { 'sec-fetch-site': 'same-site' }],
    ['typed into the address bar', { 'sec-fetch-site': 'none' }],
    ['of another origin', { 'sec-fetch-site': '', origin: 'https://evil.test' }],
    ['of an opaque origin', { 'sec-fetch-site': '', origin: 'null' }],
    ['of another port', { 'sec-fetch-site': '', origin: `${HOST}:8080` }],
    [
      'of an opaque origin, behind a proxy that tells no host',
      { 'sec-fetch-site': '', origin: 'null', 'x-forwarded-host': ' ' },
    ],
    ['with neither of both', { 'sec-fetch-site': '', origin: '' }],
    ['as a form sends it', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['as text', { 'content-type': 'text/plain' }],
    ['without a type', { 'content-type': '' }],
  ])('%s is refused', async (_, headers) => {
    const response = await dashboard.make().post('/api/jobs', cancel, headers);
    expect(response.status).toBe(403);
    expect(await dashboard.store.getJob('safe', 'row-1')).toMatchObject({ state: 'waiting' });
  });

  test.each([
    ['without authorize', {}],
    ['with readOnly', { authorize: () => true, readOnly: true }],
    ['that authorize refuses', { authorize: (_: Request, access: string) => access === 'read' }],
    ['when authorize throws', { authorize: () => Promise.reject(new Error('no session')) }],
  ])('%s is refused', async (_, options) => {
    const site = new Site(createDashboard({ store: dashboard.store, basePath: BASE, ...options }));
    expect((await site.post('/api/jobs', cancel)).status).toBe(403);
    expect((await site.post('/api/queue', { verb: 'pause', queue: 'safe' })).status).toBe(403);
    expect(await dashboard.store.getJob('safe', 'row-1')).toMatchObject({ state: 'waiting' });
  });

  test('behind a proxy is known by the host that it tells', async () => {
    const headers = { 'sec-fetch-site': '', origin: 'https://public.test', 'x-forwarded-host': 'public.test' };
    expect((await dashboard.make().post('/api/jobs', { ...cancel, ids: ['row-2'] }, headers)).status).toBe(200);
  });

  test('is offered by no read-only page', async () => {
    const html = await dashboard.make({ readOnly: true }).html('/jobs?queue=safe');
    expect(html).toContain('Read-only');
    expect(html).not.toMatch(/data-verb|data-bulk|type="checkbox"/);
  });

  test.each(['PUT', 'DELETE', 'PATCH'])('by %s is none', async (method) => {
    const headers = { origin: HOST, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' };
    const response = await dashboard.make().handle(new Request(`${HOST}${BASE}/api/jobs`, { method, headers }));
    expect(response.status).toBe(404);
  });
});

describe('a read', () => {
  test('is refused unless authorize consents', async () => {
    const site = dashboard.make({ authorize: (request) => request.headers.get('cookie') === 'admin' });
    for (const path of ['/', '/jobs?queue=safe', '/events', '/find?id=row-1']) {
      const response = await site.get(path);
      expect(response.status, path).toBe(403);
      expect(await response.text()).toBe('Not allowed.');
    }
    expect((await site.get('/', { cookie: 'admin' })).status).toBe(200);
  });

  test('gets the response of authorize in place of the page', async () => {
    const site = dashboard.make({ authorize: () => Response.redirect(`${HOST}/login`, 303) });
    const response = await site.get('/');
    expect([response.status, response.headers.get('location')]).toEqual([303, `${HOST}/login`]);
  });
});

describe('headers', () => {
  test.each(['/', '/jobs?queue=none', '/nothing', '/find?id=nobody'])(
    'of %s let nothing run that is not served',
    async (path) => {
      const response = await dashboard.make().get(path);
      const policy = response.headers.get('content-security-policy') ?? '';
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self'");
      expect(policy).not.toMatch(/unsafe|\*|data:|http/);
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      expect(response.headers.get('x-frame-options')).toBe('DENY');
      expect(response.headers.get('cache-control')).toBe('no-store');
    },
  );

  test('no page has a script, a style or a handler of its own', async () => {
    const html = await dashboard.make().html('/nothing');
    expect(html).not.toMatch(/<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=/);
    expect(html.match(/(?:src|href)="(?:https?:)?\/\//g)).toBeNull();
  });
});

test('files have their hash in the address, and an ETag', async () => {
  const site = dashboard.make();
  const html = await site.html('/');
  const addresses = [...html.matchAll(/(?:src|href)="([^"]*\/assets\/[^"]+)"/g)].map(([, path]) =>
    path!.replace(BASE, ''),
  );
  expect(addresses).toHaveLength(4);
  for (const path of addresses) {
    const response = await site.get(path);
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toContain('immutable');
    const etag = response.headers.get('etag') as string;
    expect((await site.get(path, { 'if-none-match': etag })).status).toBe(304);
  }
  expect((await site.get('/assets/x/..%2f..%2fpackage.json')).status).toBe(404);
  expect((await site.get('/assets/old/dashboard.js')).headers.get('cache-control')).toBe('no-cache');
});

const q = encodeURIComponent(HOSTILE);
test.each([
  '/',
  `/jobs?queue=${q}`,
  `/queue?queue=${q}`,
  `/job?queue=${q}&id=${q}`,
  `/flow?queue=${q}&id=${q}`,
  `/schedules?queue=${q}&after=${q}`,
  `/flows?after=${q}`,
  `/jobs?queue=${q}&after=${q}`,
  `/jobs?queue=${q}&name=${q}&text=${q}&path=${q}&value=${q}`,
  `/nothing/${q}`,
  `/find?id=${q}x`,
])('hostile names and payloads are nothing but text: %s', async (path) => {
  const html = await dashboard.make().html(path);
  expect(html).not.toContain('<img');
  expect(html).not.toContain('<script>');
});
