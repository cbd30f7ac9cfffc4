/** Runs the shop's jobs. Start as many of these as you like. */
import { closeOnSignals, Worker } from '@conveyor/store-pg';
import { eq, sql } from 'drizzle-orm';
import { close, db, type ShopJobs, store } from './db.js';
import { orders, products, receipts } from './schema.js';

await store.connect();

const worker = new Worker<ShopJobs>(
  'shop',
  async (job) => {
    // What a job does and that it is done are one transaction: it happens once, whatever dies in between.
    await db.transaction(async (tx) => {
      if (job.name === 'restock') {
        const { productId, pieces } = job.data;
        await tx
          .update(products)
          .set({ stock: sql`${products.stock} + ${pieces}` })
          .where(eq(products.id, productId));
        await job.completeIn(tx, { pieces });
        return;
      }
      const [order] = await tx.select().from(orders).where(eq(orders.id, job.data.orderId));
      if (!order) throw new Error(`there is no order ${job.data.orderId}`);
      if (!order.email.includes('@')) throw new Error(`nobody can be reached at "${order.email}"`);
      await tx
        .insert(receipts)
        .values({ orderId: order.id, body: `${(order.cents / 100).toFixed(2)} for ${order.email}` });
      await job.completeIn(tx, { sentTo: order.email });
    });
  },
  { store, concurrency: 5 },
);
worker.on('failed', ({ job, error }) => console.log(`${job.name} ${job.id} failed: ${error.message}`));
worker.on('error', (error) => console.error(error));
console.log('working');

closeOnSignals(worker, close);
