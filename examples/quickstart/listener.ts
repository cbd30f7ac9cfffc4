/**
 * Neither adds nor runs jobs: prints the events of the queue, from every process, as they arrive.
 *
 * An event can be missing, because a process may die before it has sent it. The tables are never out of date.
 */
import { PgStore, type StoreEvent } from '@conveyor/store-pg';
import { QUEUE } from './queue.js';
import { untilStopped } from './until-stopped.js';

const store = new PgStore({ connection: process.env['DATABASE_URL']! });

store.subscribe(QUEUE, (event: StoreEvent) => {
  const words = inWords(event);
  if (words) console.log(`${event.jobId?.padEnd(11)} ${words}`);
});

function inWords({ type, data }: StoreEvent): string | undefined {
  if (type === 'job:progress') return `${data} %`;
  if (type === 'job:delayed') return 'delayed';
  if (type === 'job:stalled') return 'stalled: its worker gave no sign of life';
  if (type === 'job:failed') return `failed: ${data}`;
  if (type === 'job:completed') return `completed by ${(data as { sentBy: string }).sentBy}`;
  return undefined;
}

await store.connect();
process.send?.('ready');

await untilStopped();
await store.disconnect();
