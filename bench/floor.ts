import postgres from 'postgres';
import type { Contender, Payload } from './contender.js';

/** Jobs per claim and per settlement. */
const BATCH = 500;

/**
 * The least that Postgres must do for each job: a narrow table and prepared, batched SQL, without leases, retries or
 * events. It is the upper bound on the throughput of any job queue here.
 */
export function floor(): Contender {
  let sql: postgres.Sql;
  let pending: { payload: Payload; resolve(): void; reject(error: unknown): void }[] = [];
  let flushing = 0;
  let stopped = false;

  async function insert(payloads: readonly Payload[]): Promise<void> {
    await sql`insert into floor_jobs (data) select x from jsonb_array_elements(${JSON.stringify(payloads)}::text::jsonb) x`;
  }
  function flush(): void {
    if (flushing >= 2 || pending.length === 0) return;
    const batch = pending;
    pending = [];
    flushing++;
    insert(batch.map((one) => one.payload))
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
  async function claim(limit: number) {
    return sql<{ id: string; data: Payload }[]>`
      with next as (
        select id from floor_jobs where state = 'waiting' order by id limit ${limit} for update skip locked)
      update floor_jobs set state = 'active'
      where id = any(array(select id from next)) returning id, data`;
  }
  async function settle(ids: readonly string[]): Promise<void> {
    await sql`update floor_jobs set state = 'completed', finished_at = now()
      where id = any(array(select x::bigint from jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb) x))`;
  }
  return {
    name: 'floor',
    async open(url) {
      sql = postgres(url, { max: 4, onnotice() {} });
      await sql`create table floor_jobs (
        id bigint generated always as identity primary key, state text not null default 'waiting',
        data jsonb not null, finished_at timestamptz)`;
      await sql`create index on floor_jobs (id) where state = 'waiting'`;
    },
    addBulk: insert,
    addOne(payload) {
      return new Promise((resolve, reject) => {
        pending.push({ payload, resolve, reject });
        setImmediate(flush);
      });
    },
    async process(count) {
      let done = 0;
      let settling: Promise<void> = Promise.resolve();
      while (done < count) {
        const jobs = await claim(BATCH);
        if (jobs.length === 0) break;
        await settling;
        settling = settle(jobs.map(({ id }) => id)).then(() => {
          done += jobs.length;
        });
      }
      await settling;
    },
    async startIdle(onStart) {
      await sql.listen('floor', async () => {
        for (const { data } of await claim(10)) onStart(data);
      });
      const add = this.addOne.bind(this);
      this.addOne = async (payload) => {
        await add(payload);
        if (!stopped) await sql.notify('floor', '');
      };
    },
    async close() {
      stopped = true;
      await sql.end({ timeout: 1 });
    },
  };
}
