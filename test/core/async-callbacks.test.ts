import { expect, it } from 'vitest';
import { newName, usePlayground } from '../support/playground.js';
import { spawnScript } from '../support/process.js';

const play = usePlayground();

it('a process whose every callback rejects lives, and its jobs end', async () => {
  const queueName = newName();
  const script = spawnScript(new URL('./async-callbacks.script.ts', import.meta.url), {
    args: [play.database.url, queueName],
  });
  expect(await script.exit).toBe(0);
  expect(script.lines.at(-1)).toEqual({ ended: 'well' });
  const rows = await play.database.sql`
    select data, state from conveyor_jobs where queue_name = ${queueName} order by data`;
  expect(rows.map(({ data, state }) => [data, state])).toEqual([
    ['fails', 'failed'],
    ['unchecked checked', 'failed'],
    ['unchecked raw', 'failed'],
    ['works', 'completed'],
  ]);
});
