/** The store on an app's own Drizzle database: every driver, on both majors of drizzle-orm, from the packed package. */
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { MAJORS, run, scratchApp } from '../support/scratch.js';
import { drivers } from './drivers/open.js';

const PROVEN = [
  'connects and migrates',
  'carries every value there and back',
  'reads job rows through Drizzle',
  'rolls back: no job, no event, no doorbell',
  'commits: the job runs',
  'commits and rolls back nested transactions on their own',
  'gives the existing job inside a transaction, which goes on',
  'runs flows that were added in a transaction',
  'completes and fails jobs in the transaction of their handlers',
  'keeps the limits of groups and of queues',
  'leaves the app its connections',
  'leaves the client open, and its parsers as they were',
];

/** Where npm put Bun: its install script, which not every npm runs, moves it. */
function bun(): string {
  const modules = resolve(import.meta.dirname, '../../node_modules');
  const platform = join(modules, '@oven');
  const places = [
    join(modules, 'bun/bin/bun.exe'),
    ...(existsSync(platform) ? readdirSync(platform).map((name) => join(platform, name, 'bin/bun')) : []),
  ];
  const found = places.find((place) => existsSync(place));
  if (!found) throw new Error('Bun is not installed: npm install');
  return found;
}

describe.each(MAJORS)('on drizzle-orm %s', (major) => {
  describe.each(Object.keys(drivers))('%s', (driver) => {
    const database = useDatabase({ empty: true });

    test('shares its client with the store', { timeout: 240_000 }, async () => {
      const app = await scratchApp(major);
      await app.compile(join(import.meta.dirname, 'drivers/open.ts'));
      const script = await app.compile(join(import.meta.dirname, 'drivers/scenario.script.ts'));
      const { stdout, stderr } = await run(driver === 'Bun SQL' ? bun() : process.execPath, [script], {
        cwd: app.folder,
        env: { DRIVER: driver, DATABASE_URL: database.url },
        timeout: 120_000,
      });
      expect(
        stdout
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
        stderr,
      ).toEqual(PROVEN);
    });
  });
});
