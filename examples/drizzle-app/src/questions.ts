/** What the shop wants to know of its jobs: ordinary queries, joined with its own tables. */
import { and, count, desc, eq, gte, sql } from 'drizzle-orm';
import { db, jobs, queue } from './db.js';
import { orders, products, receipts } from './schema.js';

export const counts = () =>
  db
    .select({ job: jobs.name, state: jobs.state, jobs: count() })
    .from(jobs)
    .where(eq(jobs.queueName, queue.name))
    .groupBy(jobs.name, jobs.state)
    .orderBy(jobs.name, jobs.state);

export const failures = () =>
  db
    .select({ reason: jobs.failedReason, jobs: count() })
    .from(jobs)
    .where(
      and(eq(jobs.queueName, queue.name), eq(jobs.state, 'failed'), gte(jobs.failedAt, sql`now() - interval '1 hour'`)),
    )
    .groupBy(jobs.failedReason)
    .orderBy(desc(count()));

/** The newest orders with their receipts and the jobs that make them. */
export const newestOrders = () =>
  db
    .select({
      order: orders.id,
      product: products.name,
      email: orders.email,
      job: jobs.state,
      attempts: jobs.attemptsMade,
      receipt: receipts.body,
    })
    .from(orders)
    .innerJoin(products, eq(products.id, orders.productId))
    .leftJoin(receipts, eq(receipts.orderId, orders.id))
    .leftJoin(jobs, and(eq(jobs.name, 'receipt'), sql`${jobs.data}->>'orderId' = ${orders.id}::text`))
    .orderBy(desc(orders.id))
    .limit(20);

const ms = sql`extract(epoch from ${jobs.completedAt} - ${jobs.processedAt}) * 1000`;

export const durations = () =>
  db
    .select({
      job: jobs.name,
      jobs: count(),
      p50: sql`round(percentile_cont(0.5) within group (order by ${ms}))`.mapWith(Number),
      p95: sql`round(percentile_cont(0.95) within group (order by ${ms}))`.mapWith(Number),
    })
    .from(jobs)
    .where(and(eq(jobs.queueName, queue.name), eq(jobs.state, 'completed')))
    .groupBy(jobs.name);

/** Starts the failed receipts of an order over: found by a query, changed by the queue. */
export async function retryReceipt(orderId: number): Promise<number> {
  const found = await db
    .select({ id: jobs.id })
    .from(jobs)
    .where(and(eq(jobs.state, 'failed'), eq(jobs.name, 'receipt'), sql`${jobs.data}->>'orderId' = ${orderId}::text`));
  for (const { id } of found) await (await queue.getJob(id))?.retry();
  return found.length;
}
