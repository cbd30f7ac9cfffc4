/** examples/drizzle-app, installed and used as its README says. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { npm, run, scratchApp } from '../support/scratch.js';
import { until } from '../support/until.js';

const root = resolve(import.meta.dirname, '../..');
const database = useDatabase({ empty: true });
const running: { end(): Promise<void> }[] = [];
afterAll(async () => {
  await Promise.all(running.map(({ end }) => end()));
});

/** Starts an npm script; resolves when it has said the line. */
async function start(folder: string, args: string[], line: RegExp): Promise<{ said: string; end(): Promise<void> }> {
  // A process group, for npm puts a shell and more between itself and the app.
  const child: ChildProcess = spawn('npm', args, {
    cwd: folder,
    detached: true,
    env: { ...process.env, DATABASE_URL: database.url, PORT: '0', NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (said += chunk));
  const closed = new Promise<void>((done) => child.once('close', () => done()));
  const one = {
    async end() {
      try {
        process.kill(-(child.pid as number), 'SIGTERM');
      } catch {}
      await closed;
    },
  };
  running.push(one);
  const found = await until(() => line.exec(said)?.[0], { timeout: 60_000, what: `${args} to say ${line}` }).catch(
    (error) => {
      throw new Error(`${error.message}\n${said}`);
    },
  );
  return { ...one, said: found };
}

test('the shop takes orders, makes receipts, and answers questions', { timeout: 240_000 }, async () => {
  const { folder } = await scratchApp('0.x');
  cpSync(join(root, 'examples/drizzle-app'), folder, {
    recursive: true,
    filter: (source) => !source.includes('node_modules'),
  });
  const script = (name: string) => npm(['run', name], { cwd: folder, env: { DATABASE_URL: database.url } });
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  await run(process.execPath, [tsc, '-p', '.'], { cwd: folder });

  // Its migrations make all that its schema says; else "npm run generate" is due there.
  expect(readdirSync(join(folder, 'drizzle')).some((file) => file.endsWith('.sql'))).toBe(true);
  expect((await script('generate')).stdout).toContain('No schema changes');
  await script('migrate');

  const worker = await start(folder, ['run', 'worker'], /working/);
  const server = await start(folder, ['start'], /http:\/\/127\.0\.0\.1:\d+/);
  const ask = async (method: string, path: string, body?: object) => {
    const answer = await fetch(server.said + path, { method, ...(body && { body: JSON.stringify(body) }) });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type') === 'application/json';
    return { status: answer.status, body: isJson ? JSON.parse(text) : text };
  };
  const order = async (email: string) => ask('POST', '/orders', { email, product: 'kite' });
  const receiptOf = (id: number) =>
    until(async () => (await ask('GET', `/orders/${id}`)).body.receipt, { what: `the receipt of order ${id}` });

  await ask('PUT', '/products/kite', { cents: 2_500, stock: 2 });
  expect(await order('ada@example.com')).toMatchObject({ status: 201, body: { orderId: 1 } });
  expect(await receiptOf(1)).toBe('25.00 for ada@example.com');

  // The second takes the last one, and has the shelf filled up; its own address is none.
  expect(await order('<nowhere>')).toMatchObject({ status: 201, body: { orderId: 2 } });
  await until(async () => (await ask('GET', '/products')).body[0].stock === 10, { what: 'the shelf to be filled' });
  await until(async () => (await ask('GET', '/')).body.includes('nobody can be reached'), { what: 'the failure' });
  const page = (await ask('GET', '/')).body as string;
  for (const text of ['25.00 for ada@example.com', '&#60;nowhere&#62;', '<td>receipt</td><td>failed</td><td>1</td>']) {
    expect(page).toContain(text);
  }
  expect(page).not.toContain('<nowhere>');

  // Mended, and started over.
  await ask('PATCH', '/orders/2', { email: 'bob@example.com' });
  expect(await ask('POST', '/orders/2/retry')).toEqual({ status: 200, body: { retried: 1 } });
  expect(await receiptOf(2)).toBe('25.00 for bob@example.com');

  // What cannot be had leaves nothing behind: neither an order nor a job.
  const { sql } = database;
  await ask('PUT', '/products/kite', { cents: 2_500, stock: 0 });
  expect(await order('carl@example.com')).toEqual({ status: 409, body: { error: 'no kite is left' } });
  expect(await sql`select count(*)::int from orders`).toEqual([{ count: 2 }]);
  expect(await sql`select name, count(*)::int from conveyor_jobs group by 1 order by 1`).toEqual([
    { name: 'receipt', count: 2 },
    { name: 'restock', count: 1 },
  ]);
  expect((await ask('GET', '/nothing')).status).toBe(404);

  await Promise.all([worker.end(), server.end()]);
});
