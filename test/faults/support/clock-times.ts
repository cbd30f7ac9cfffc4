import type { Bench } from './drill.js';
import { spread } from './figures.js';

/** ms that something may come late. */
export const SLACK = 1_000;

/** No lease was taken for over while its worker lived: every job ran once. */
export async function judgeLeases({ sql, ...bench }: Bench): Promise<void> {
  const again =
    await sql`select job_id from drill_run where tag in ('lease', 'delay', 'rated') group by 1 having count(*) > 1`;
  bench.check(again.length === 0, `${again.length} jobs ran twice: their leases were taken for over`);
}

/** How late something came, in ms; negative: early. */
export async function judgeTimes({ sql, ...bench }: Bench): Promise<void> {
  const late = {
    delay:
      await sql`select extract(epoch from greatest(r.began - d.latest, least(r.began - d.earliest, '0'))) * 1000 as ms
      from drill_due d left join drill_run r using (job_id)`,
    retry: await sql`select extract(epoch from b.began - a.ended - interval '2 s') * 1000 as ms from drill_run a
      left join drill_run b on b.job_id = a.job_id and b.claimed > a.claimed where a.tag = 'retry'
      and not exists (select from drill_run where job_id = a.job_id and claimed < a.claimed)`,
    timeout:
      await sql`select extract(epoch from aborted - began - interval '1 s') * 1000 as ms from drill_run where tag = 'timeout'`,
  };
  for (const [what, rows] of Object.entries(late)) {
    const times = rows.map((row) => (row['ms'] === null ? Number.POSITIVE_INFINITY : Number(row['ms'])));
    bench.figure(`${what}: late by, ms p50/p99/max`, spread(times));
    // A backoff varies by a quarter; a timeout counts from the start of the handler, a little before it is noted.
    const early = { delay: 2, retry: 520, timeout: 100 }[what] ?? 0;
    bench.check(times.length > 0 && Math.min(...times) >= -early, `${what}: early by ${-Math.min(...times)} ms`);
    bench.check(Math.max(...times) <= SLACK + early, `${what}: late by ${Math.max(...times)} ms`);
  }
}

export async function judgeTicks(
  { sql, ...bench }: Bench,
  { startDate, endDate }: { startDate: Date; endDate: Date },
  ready: number,
  end: number,
): Promise<void> {
  const rows = await sql`select tag, array_agg(extract(epoch from began) * 1000 order by began) as at from drill_run
    where tag like 'every %' or tag like 'between %' group by 1`;
  bench.check(rows.length === 8, `${rows.length} of 8 schedules have run`);
  for (const { tag, at } of rows as unknown as { tag: string; at: string[] }[]) {
    const bounded = tag.startsWith('between');
    const [from, to] = bounded ? [startDate.getTime(), endDate.getTime()] : [ready, end];
    const times = at.map(Number);
    const wanted = Math.floor((to - from) / 1_000);
    const seen = times.filter((time) => time >= from && time <= to + SLACK);
    bench.check(Math.abs(seen.length - wanted) <= 2, `${tag}: ${seen.length} ticks in ${to - from} ms`);
    if (bounded) bench.check(seen.length === times.length, `${tag}: ran outside its dates`);
  }
}
