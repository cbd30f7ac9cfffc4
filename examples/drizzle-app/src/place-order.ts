import { and, eq, gte, sql } from 'drizzle-orm';
import { db, queue } from './db.js';
import { orders, products } from './schema.js';

export class OutOfStock extends Error {}

/**
 * Inserts the order, takes the product out of stock and adds the receipt job in one transaction: no outbox is needed,
 * and no receipt is made for an order that was rolled back.
 */
export async function placeOrder(email: string, productName: string): Promise<{ orderId: number; jobId: string }> {
  return db.transaction(async (tx) => {
    const [product] = await tx.select().from(products).where(eq(products.name, productName));
    if (!product) throw new OutOfStock(`there is no ${productName}`);
    const [order] = await tx.insert(orders).values({ email, productId: product.id, cents: product.cents }).returning();
    if (!order) throw new Error('the order was not inserted');

    const job = await queue
      .withTransaction(tx)
      .add('receipt', { orderId: order.id }, { attempts: 3, backoff: { type: 'fixed', delay: '100ms' } });

    const taken = await tx
      .update(products)
      .set({ stock: sql`${products.stock} - 1` })
      .where(and(eq(products.id, product.id), gte(products.stock, 1)))
      .returning({ left: products.stock });
    // Rolls back the order and its job too.
    if (taken.length === 0) throw new OutOfStock(`no ${productName} is left`);

    if (taken[0]?.left === 0) {
      // The key allows one unfinished restock job per product, however many orders ask for one.
      await queue
        .withTransaction(tx)
        .add('restock', { productId: product.id, pieces: 10 }, { deduplication: { key: `restock-${product.id}` } });
    }
    return { orderId: order.id, jobId: job.id };
  });
}
