import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { closeOnSignals } from '../../src/index.js';
import { newName, usePlayground } from '../support/playground.js';
import { type Script, spawnScript } from '../support/process.js';

const play = usePlayground();

async function startedScript(ms: number, timeout: number): Promise<Script> {
  const args = [play.database.url, newName(), String(ms), String(timeout)];
  const script = spawnScript(new URL('./signals.script.ts', import.meta.url), { args });
  await script.waitFor((line) => line === 'active', { timeout: 20_000 });
  return script;
}

it.each(['SIGTERM', 'SIGINT'] as const)('%s closes workers, then queues, stores and functions', async (signal) => {
  const script = await startedScript(700, 20_000);
  script.child.kill(signal);
  // Tools that run the process may forward what the terminal has sent already.
  script.child.kill(signal);
  expect(await script.exit, script.said()).toBe(0);
  expect(script.lines).toEqual([
    'active',
    'completed',
    'Worker close',
    'Queue close',
    'PgStore disconnect',
    'function',
    signal,
  ]);
});

it('a second signal ends the process at once', async () => {
  const script = await startedScript(60_000, 60_000);
  script.child.kill('SIGTERM');
  await sleep(700);
  script.child.kill('SIGTERM');
  expect(await script.exit).toBe(143);
});

it('the time limit holds for all of it, and the job goes back before', async () => {
  const script = await startedScript(60_000, 5_000);
  const began = performance.now();
  script.child.kill('SIGTERM');
  await script.waitFor((line) => line === 'PgStore disconnect');
  expect(performance.now() - began).toBeLessThan(5_000);
  expect(await script.exit).toBe(0);
  const [row] = await play.database.sql`select state, attempts_made as attempts from conveyor_jobs
    order by seq desc limit 1`;
  expect(row).toEqual({ state: 'waiting', attempts: 0 });
});

it('says what it cannot close, and can be cancelled', () => {
  expect(() => closeOnSignals({} as never, () => {})).toThrow('takes workers, queues, flows, stores and functions');
  expect(() => closeOnSignals(() => {}, { timeuot: 5 } as never)).toThrow('Did you mean timeout');
  expect(() => closeOnSignals(() => {}, { signals: ['SIGKILL'] })).toThrow('SIGKILL');
  const before = process.listenerCount('SIGTERM');
  const { cancel } = closeOnSignals(() => {});
  expect(process.listenerCount('SIGTERM')).toBe(before + 1);
  cancel();
  expect(process.listenerCount('SIGTERM')).toBe(before);
});
