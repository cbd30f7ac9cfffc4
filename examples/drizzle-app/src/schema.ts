/** The whole database: the shop's tables, and with them those of the queue. */
import { sql } from 'drizzle-orm';
import { check, integer, pgTable, text, timestamp } from 'drizzle-orm/pg-core';

export * from '@conveyor/store-pg/schema';

export const products = pgTable(
  'products',
  {
    id: integer('id').primaryKey().generatedAlwaysAsIdentity(),
    name: text('name').notNull().unique(),
    cents: integer('cents').notNull(),
    stock: integer('stock').notNull(),
  },
  () => [check('products_stock_check', sql`stock >= 0`)],
);

export const orders = pgTable('orders', {
  id: integer('id').primaryKey().generatedAlwaysAsIdentity(),
  productId: integer('product_id')
    .notNull()
    .references(() => products.id),
  email: text('email').notNull(),
  cents: integer('cents').notNull(),
  placedAt: timestamp('placed_at', { withTimezone: true }).notNull().defaultNow(),
});

export const receipts = pgTable('receipts', {
  orderId: integer('order_id')
    .primaryKey()
    .references(() => orders.id),
  body: text('body').notNull(),
});
