// db.ts
import { PgStore, Queue } from '@conveyor/store-pg';
import { typedJobs } from '@conveyor/store-pg/schema';
import { drizzle } from 'drizzle-orm/postgres-js';
import type { MailJobs } from './schema.js';

export const db = drizzle(process.env['DATABASE_URL']!);
export const store = new PgStore({ db });
export const queue = new Queue<MailJobs>('mail', { store });

/** The jobs table; the name of a row's job tells what its data is. */
export const jobs = typedJobs<MailJobs>();
