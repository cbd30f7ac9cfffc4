/** One client for the shop and its queue. */
import { type JobMap, PgStore, Queue } from '@conveyor/store-pg';
import { typedJobs } from '@conveyor/store-pg/schema';
import { drizzle } from 'drizzle-orm/postgres-js';

const url = process.env['DATABASE_URL'];
if (!url) throw new Error('DATABASE_URL is not set');

export const db = drizzle(url);

// The tables come with the shop's migrations: connect() checks that they are there.
export const store = new PgStore({ db, autoMigrate: false });

/** Names of the queue's jobs, and what each of them carries. */
export type ShopJobs = JobMap<{ receipt: { orderId: number }; restock: { productId: number; pieces: number } }>;

export const queue = new Queue<ShopJobs>('shop', { store });

/** The jobs table, for queries. */
export const jobs = typedJobs<ShopJobs>();

export async function close(): Promise<void> {
  await store.disconnect();
  await db.$client.end();
}
