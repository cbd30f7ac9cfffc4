import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { type Contender, type Payload, SQL_PAYLOAD } from './contender.js';
import { existsIn } from './exists.js';

/** Jobs per claim and per settlement. */
const BATCH = 500;
/** Inserts under way at once. */
const FLUSHES = 2;

const insert = (state: string, finished: string) => `
  insert into floor_jobs (data, state, finished_at)
  select ${SQL_PAYLOAD}, '${state}', ${finished} from generate_series(1, $count) i`;

/**
 * The least that Postgres must do for each job: a narrow table and prepared, batched SQL, without leases, retries or
 * events. It is the upper bound on the throughput of any job queue here.
 */
export function floor(): Contender {
  let sql: postgres.Sql;
  let wakes = false;
  let unfinished: () => Promise<boolean>;
  let pending: { payload: Payload; resolve(): void; reject(error: unknown): void }[] = [];
  let flushing = 0;

  async function add(payloads: readonly Payload[]): Promise<void> {
    const json = JSON.stringify(payloads);
    if (!wakes) await sql`insert into floor_jobs (data) select x from jsonb_array_elements(${json}::text::jsonb) x`;
    else {
      await sql`with added as (
          insert into floor_jobs (data) select x from jsonb_array_elements(${json}::text::jsonb) x returning 1)
        select pg_notify('floor', '') from (select 1 from added limit 1)`;
    }
  }
  function flush(): void {
    if (flushing >= FLUSHES || pending.length === 0) return;
    const batch = pending;
    pending = [];
    flushing++;
    add(batch.map((one) => one.payload))
      .then(
        () => {
          for (const one of batch) one.resolve();
        },
        (error) => {
          for (const one of batch) one.reject(error);
        },
      )
      .finally(() => {
        flushing--;
        flush();
      });
  }
  const claim = (limit: number) => sql<{ id: string; data: Payload }[]>`
    with next as (
      select id from floor_jobs where state = 'waiting' order by id limit ${limit} for update skip locked)
    update floor_jobs set state = 'active' where id = any(array(select id from next)) returning id, data`;
  const settle = (ids: readonly string[]) => sql`
    update floor_jobs set state = 'completed', finished_at = now()
    where id = any(array(select x::bigint from jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb) x))`;

  /** Claims the next batch while the one before is being settled. */
  async function drain(handler: (payload: Payload) => void, batch: number): Promise<void> {
    let settling: Promise<unknown> = Promise.resolve();
    for (;;) {
      const jobs = await claim(batch);
      if (jobs.length === 0) break;
      for (const { data } of jobs) handler(data);
      await settling;
      settling = settle(jobs.map(({ id }) => id)).execute();
    }
    await settling;
  }
  return {
    async open(address) {
      wakes = address.wakes;
      unfinished = existsIn(address.postgres, 'floor_jobs', "state = 'waiting'", "state = 'active'");
      sql = postgres(address.postgres, { max: 4, onnotice() {} });
      await sql`create table if not exists floor_jobs (
        id bigint generated always as identity primary key, state text not null default 'waiting',
        data jsonb not null, finished_at timestamptz)`;
      await sql`create index if not exists floor_waiting on floor_jobs (id) where state = 'waiting'`;
      await sql`create index if not exists floor_active on floor_jobs (id) where state = 'active'`;
    },
    addBulk: add,
    addOne(payload) {
      return new Promise((resolve, reject) => {
        pending.push({ payload, resolve, reject });
        setImmediate(flush);
      });
    },
    async work(handler, { purpose }) {
      if (purpose === 'latency') {
        await sql.listen('floor', () => void drain(handler, 1));
        return;
      }
      const loop = async () => {
        for (;;) {
          await drain(handler, BATCH);
          await sleep(5);
        }
      };
      void loop();
    },
    unfinished: () => unfinished(),
    fill: { waiting: insert('waiting', 'null'), completed: insert('completed', 'now()') },
  };
}
