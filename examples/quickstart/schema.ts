/** The app's Drizzle schema: its own tables, and those of the queue beside them. */
import { pgTable, text, timestamp } from 'drizzle-orm/pg-core';

export * from '@conveyor/store-pg/schema';

/** One row for each mail that a worker sent. It shows whether a job took effect twice. */
export const deliveries = pgTable('deliveries', {
  jobId: text('job_id').notNull(),
  recipient: text('recipient').notNull(),
  sentBy: text('sent_by').notNull(),
  sentAt: timestamp('sent_at', { withTimezone: true }).notNull().defaultNow(),
});
