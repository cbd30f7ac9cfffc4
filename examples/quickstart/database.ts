/** A Postgres schema that is dropped afterwards, on your server or on an embedded one started for this run. */
import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { startEmbedded } from '../../test/support/embedded.js';

export interface Database {
  /** Its search path is a schema made for this run: nothing else in the database is read or changed. */
  readonly url: string;
  /** A name for the queue that no other queue of this database has. */
  readonly queue: string;
  close(): Promise<void>;
}

export async function openDatabase(): Promise<Database> {
  const given = process.env['DATABASE_URL'];
  const server = given ? undefined : await startEmbedded();
  const url = new URL(given || server!.url);
  console.log(`Postgres at ${url.host}${given ? '' : ', started for this run'}`);

  const suffix = randomBytes(4).toString('hex');
  const schema = `conveyor_quickstart_${suffix}`;
  const admin = postgres(url.href, { max: 1, onnotice: () => {} });
  const end = async () => {
    await admin.end({ timeout: 5 });
    await server?.stop();
  };
  try {
    // In an app drizzle-kit makes this table. The store makes its own when it connects.
    await admin`create schema ${admin(schema)} create table deliveries (
      job_id text not null, recipient text not null, sent_by text not null, sent_at timestamptz not null default now())`;
  } catch (error) {
    await end();
    throw error;
  }
  url.searchParams.set('search_path', schema);
  return {
    url: url.href,
    queue: `mail-${suffix}`,
    async close() {
      try {
        await admin`drop schema ${admin(schema)} cascade`;
      } finally {
        await end();
      }
    },
  };
}
