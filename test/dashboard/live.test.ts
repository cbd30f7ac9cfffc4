import { expect, test } from 'vitest';
import { Queue } from '../../src/core/queue/queue.js';
import { createDashboard } from '../../src/dashboard/index.js';
import { PgStore } from '../../src/store/contract/pg-store.js';
import { newQueue } from '../support/rows.js';
import { BASE, HOST, Site, useDashboard } from './support.js';

const dashboard = useDashboard();

/** The events of a stream, as they come. */
async function* messages(response: Response) {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(text.slice(0, end)) ?? [];
      text = text.slice(end + 2);
      if (event && data) yield { event, data: JSON.parse(data) as Record<string, unknown> };
    }
  }
}

test('the stream tells in which queues something happens, in this process and in others', async () => {
  const queue = new Queue(newQueue(), { store: dashboard.store });
  await queue.add('first', 1);
  const response = await dashboard.make().get('/events');
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const stream = messages(response);
  expect((await stream.next()).value).toEqual({ event: 'hello', data: { listens: true } });

  const next = stream.next();
  await untilSubscribed(queue.name);
  await queue.add('here', 1);
  expect((await next).value).toEqual({ event: 'change', data: { queues: [queue.name] } });

  await using other = new PgStore({ connection: dashboard.database.url, autoMigrate: false });
  await other.connect();
  await new Queue(queue.name, { store: other }).add('there', 1);
  expect((await stream.next()).value).toEqual({ event: 'change', data: { queues: [queue.name] } });
  await stream.return(undefined);
});

test('nothing is subscribed any more when the last reader has left', async () => {
  const queue = new Queue(newQueue(), { store: dashboard.store });
  await queue.add('first', 1);
  const left = new AbortController();
  const handle = dashboard.make().handle;
  const response = await handle(new Request(`${HOST}${BASE}/events`, { signal: left.signal }));
  const stream = messages(response);
  await stream.next();
  await untilSubscribed(queue.name);
  left.abort();
  expect((await stream.next()).done).toBe(true);
  expect(channels()).not.toContain(`conveyor:${queue.name}`);
});

test('the stream ends with the store', async () => {
  const store = new PgStore({ connection: dashboard.database.url, autoMigrate: false });
  await store.connect();
  const site = new Site(createDashboard({ store, basePath: BASE }));
  const stream = messages(await site.get('/events'));
  await stream.next();
  await store.disconnect();
  expect((await stream.next()).done).toBe(true);
});

const channels = () => dashboard.store.engine.notifier.channels();

async function untilSubscribed(queue: string): Promise<void> {
  await expect.poll(channels).toContain(`conveyor:${queue}`);
}
