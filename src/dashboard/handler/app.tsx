import { type Context as Call, Hono } from 'hono';
import type { HtmlEscapedString } from 'hono/utils/html';
import { eventStream } from '../live/stream.js';
import { type Problem, ProblemPage } from '../pages/problem.js';
import { assetResponse } from '../routes/assets.js';
import { type Context, viewOf } from '../routes/context.js';
import { flowPage, flowsPage, jobJson, jobPage, placeOfJob } from '../routes/job-pages.js';
import { jobsPage, overviewPage } from '../routes/pages.js';
import { problemOf } from '../routes/problems.js';
import { queuePage, schedulesPage } from '../routes/queue-pages.js';
import { jobVerb, queueVerb } from '../routes/verbs.js';
import { consentTo } from '../security/access.js';
import { NOT_STORED } from '../security/headers.js';
import { foreignWrite } from '../security/origin.js';

type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

const MAX_BODY = 1_000_000;

/** The routes of a dashboard and what is checked before each. */
export function buildApp(context: Context, basePath: string): Hono {
  const app = new Hono({ strict: false }).basePath(basePath || '/');

  // Nothing secret, and the same for everybody: a login page of the app's own may be shown in between.
  app.get('/assets/:hash/:name', ({ req }) => {
    const { hash, name } = req.param();
    return assetResponse(hash, name, req.raw) ?? new Response('Not found.', { status: 404 });
  });
  app.use('*', async (call, next) => {
    const isRead = call.req.method === 'GET' || call.req.method === 'HEAD';
    if (!isRead && !call.req.path.startsWith(`${basePath}/api/`)) return new Response('Not allowed.', { status: 405 });
    if (!isRead) {
      const foreign = foreignWrite(call.req.raw);
      if (foreign) return call.json({ error: foreign }, 403);
      if (!context.writable) return call.json({ error: 'This dashboard is read-only.' }, 403);
    }
    const consent = await consentTo(context.authorize, call.req.raw, isRead ? 'read' : 'write', context.logger);
    if (consent !== true) return consent;
    return next();
  });

  app.get('/', async (call) => page(call, await overviewPage(context)));
  app.get('/jobs', async (call) => page(call, await jobsPage(context, call.req.query())));
  app.get('/queue', async (call) => page(call, await queuePage(context, call.req.query())));
  app.get('/job', async (call) => page(call, await jobPage(context, call.req.query())));
  app.get('/job.json', async (call) =>
    call.body(await jobJson(context, call.req.query()), 200, { ...NOT_STORED, 'content-type': 'application/json' }),
  );
  app.get('/schedules', async (call) => page(call, await schedulesPage(context, call.req.query())));
  app.get('/flows', async (call) => page(call, await flowsPage(context, call.req.query())));
  app.get('/flow', async (call) => page(call, await flowPage(context, call.req.query())));
  app.get('/find', async (call) => {
    const place = await placeOfJob(context, call.req.query());
    return place ? call.redirect(place, 303) : problem(call, notFound('No job has this id.'));
  });
  app.get('/events', ({ req }) =>
    // Nobody would read what HEAD starts.
    req.raw.method === 'HEAD' ? new Response(null) : eventStream(context.hub, req.raw.signal),
  );
  app.post('/api/jobs', async (call) => call.json(await jobVerb(context, await bodyOf(call)), 200, NOT_STORED));
  app.post('/api/queue', async (call) => call.json(await queueVerb(context, await bodyOf(call)), 200, NOT_STORED));

  app.notFound((call) => problem(call, notFound('There is no such page.')));
  app.onError((error, call) => {
    const found = problemOf(error);
    if (found.status === 500) context.logger.error('conveyor dashboard: a page could not be made', error);
    if (call.req.method !== 'POST') return problem(call, found);
    return call.json({ error: found.message, code: found.code }, found.status, NOT_STORED);
  });

  function problem(call: Call, found: Problem): Promise<Response> {
    return page(call, <ProblemPage view={viewOf(context)} problem={found} />, found.status);
  }
  return app as unknown as Hono;
}

const notFound = (message: string): Problem => ({ status: 404, title: 'Not found', message });

async function page(call: Call, html: Html, status: 200 | Problem['status'] = 200): Promise<Response> {
  return call.html(`<!doctype html>${await html}`, status, NOT_STORED);
}

async function bodyOf(call: Call): Promise<Record<string, unknown>> {
  if (Number(call.req.header('content-length') ?? 0) > MAX_BODY) throw new RangeError('The body is too large.');
  const text = await call.req.text();
  if (text.length > MAX_BODY) throw new RangeError('The body is too large.');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new TypeError('The body is not JSON.');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new TypeError('The body must be an object.');
  return body as Record<string, unknown>;
}
