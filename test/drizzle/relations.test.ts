/** Relational queries over jobs, with the relations of each major. */
import { describe, expect, test } from 'vitest';
import { FlowProducer, PgStore } from '../../src/index.js';
import { useDatabase } from '../support/database.js';
import { MAJORS, type Major, scratchApp } from '../support/scratch.js';

const SETUP: Record<Major, string> = {
  '0.x': `
    import * as conveyorRelations from '@conveyor/store-pg/relations';
    import * as conveyor from '@conveyor/store-pg/schema';
    const db = drizzle(client, { schema: { ...conveyor, ...conveyorRelations, orders } });
    const where = (id) => ({ where: (job, { eq }) => eq(job.id, id) });`,
  '1.x': `
    import { conveyorRelations } from '@conveyor/store-pg/relations-v2';
    import * as conveyor from '@conveyor/store-pg/schema';
    import { defineRelations } from 'drizzle-orm';
    const db = drizzle({ client, relations: { ...defineRelations({ ...conveyor, orders }), ...conveyorRelations } });
    const where = (id) => ({ where: { id } });`,
};
const SCHEMA_SETUP: Record<Major, string> = {
  '0.x': `
    import { defineConveyorRelations } from '@conveyor/store-pg/relations';
    const { conveyorJobs } = defineConveyor('jobs');
    const db = drizzle(client, { schema: { conveyorJobs, relations: defineConveyorRelations(conveyorJobs) } });`,
  '1.x': `
    import { defineConveyorRelations } from '@conveyor/store-pg/relations-v2';
    const { conveyorJobs } = defineConveyor('jobs');
    const db = drizzle({ client, relations: defineConveyorRelations(conveyorJobs) });`,
};
const CLIENT = `
  import { integer, pgTable } from 'drizzle-orm/pg-core';
  import { drizzle } from 'drizzle-orm/postgres-js';
  import postgres from 'postgres';
  const client = postgres(process.env.DATABASE_URL, { onnotice: () => {} });
  const orders = pgTable('orders', { id: integer('id').primaryKey() });`;

describe.each(MAJORS)('on drizzle-orm %s', { timeout: 240_000 }, (major) => {
  const database = useDatabase();

  async function addFlow(schema?: string) {
    const store = new PgStore({ connection: database.url, ...(schema && { schema }) });
    await store.connect();
    const child = (data: unknown, children: object[] = []) => ({ name: 'child', queueName: 'b', data, children });
    const flow = await new FlowProducer({ store }).add({
      name: 'parent',
      queueName: 'a',
      data: { text: '10.5', list: [1, { two: null }] },
      opts: { attempts: 3 },
      children: [child('10.5'), child(null, [child({ deep: true })] as never)] as never,
    });
    await store.disconnect();
    return flow;
  }

  test('a job with its parent and its children', async () => {
    const flow = await addFlow();
    const [left, right] = flow.children!;
    const app = await scratchApp(major);
    app.write(
      'ask.js',
      `${CLIENT}${SETUP[major]}
      const find = (id, query) => db.query.conveyorJobs.findFirst({ ...where(id), ...query });
      const parent = await find('${flow.job.id}', { with: { parent: true, children: { with: { children: true, parent: true } } } });
      const child = await find('${left!.job.id}', { columns: { id: true }, with: { parent: { columns: { data: true, seq: true, createdAt: true } } } });
      const dates = [parent.createdAt, parent.children[0].createdAt, child.parent.createdAt].map((date) => date instanceof Date && !Number.isNaN(date.getTime()));
      console.log(JSON.stringify({ parent, child, dates }));
      await client.end();`,
    );
    const { parent, child, dates } = JSON.parse(
      (await app.node('ask.js', { env: { DATABASE_URL: database.url } })).stdout,
    );
    expect(dates).toEqual([true, true, true]);
    expect(parent).toMatchObject({
      id: flow.job.id,
      state: 'waiting-children',
      data: { text: '10.5', list: [1, { two: null }] },
      opts: { attempts: 3 },
      childrenIds: [left!.job.id, right!.job.id],
      parent: null,
    });
    const children = [...parent.children].sort((a, b) => a.seq - b.seq);
    expect(children).toMatchObject([
      { id: left!.job.id, data: '10.5', state: 'waiting', children: [], parent: { id: flow.job.id, queueName: 'a' } },
      { id: right!.job.id, data: null, state: 'waiting-children', children: [{ data: { deep: true }, logs: [] }] },
    ]);
    expect(child).toEqual({
      id: left!.job.id,
      parent: {
        data: { text: '10.5', list: [1, { two: null }] },
        seq: expect.any(Number),
        createdAt: expect.any(String),
      },
    });
  });

  test('in a Postgres schema of its own', async () => {
    const flow = await addFlow('jobs');
    const app = await scratchApp(major);
    app.write(
      'ask.js',
      `${CLIENT}
      import { defineConveyor } from '@conveyor/store-pg/schema';${SCHEMA_SETUP[major]}
      const jobs = await db.query.conveyorJobs.findMany({ columns: { id: true }, with: { children: { columns: { id: true } } } });
      console.log(JSON.stringify(jobs));
      await client.end();`,
    );
    const jobs = JSON.parse((await app.node('ask.js', { env: { DATABASE_URL: database.url } })).stdout);
    expect(jobs).toHaveLength(4);
    expect(jobs.find(({ id }: { id: string }) => id === flow.job.id).children).toHaveLength(2);
  });
});
