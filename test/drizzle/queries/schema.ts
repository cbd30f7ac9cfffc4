// schema.ts
import type { JobMap } from '@conveyor/store-pg';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';

export * from '@conveyor/store-pg/schema';

export const users = pgTable('users', { id: integer('id').primaryKey(), email: text('email').notNull() });

export type MailJobs = JobMap<{ welcome: { userId: number }; digest: { userId: number; day: string } }>;
