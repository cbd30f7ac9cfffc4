/** Adds jobs of three kinds, and waits until all of them have finished. */
import { type Job, PgStore, Queue } from '@conveyor/store-pg';
import { AMOUNT, type MailJobs, QUEUE } from './queue.js';

const store = new PgStore({ connection: process.env['DATABASE_URL']! });
await store.connect();
const queue = new Queue<MailJobs>(QUEUE, { store });
const adding: Promise<Job>[] = [];

for (let n = 1; n <= AMOUNT.welcome; n++) {
  adding.push(queue.add('welcome', { to: `user${n}@example.com` }, { jobId: `welcome-${n}` }));
}
for (let n = 1; n <= AMOUNT.reminder; n++) {
  adding.push(queue.add('reminder', { to: `user${n}@example.com` }, { jobId: `reminder-${n}`, delay: '2 seconds' }));
}
for (let n = 1; n <= AMOUNT.invoice; n++) {
  const invoice = { to: `user${n}@example.com`, amount: 25 * n };
  const backoff = { type: 'exponential', delay: '300ms' } as const;
  adding.push(queue.add('invoice', invoice, { jobId: `invoice-${n}`, attempts: 3, backoff }));
}

const jobs = await Promise.all(adding);
console.log(`added ${jobs.length} jobs`);

await Promise.all(jobs.map((job) => job.waitUntilFinished('1 minute')));
console.log('all of them have finished');

await queue.close();
await store.disconnect();
