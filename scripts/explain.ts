/**
 * Prints the plan of a statement as the server makes it once for any parameters, on an embedded Postgres whose tables
 * are filled first:
 *
 *   npm run explain -- promote due
 *   npm run explain -- --rows 1000000 --costs promote due
 *
 * The settings are those of the store's own connections. PG_VERSION chooses the server's major version.
 */
import { parseArgs } from 'node:util';
import { closeClient, openPool } from '../src/db/connect.js';
import { migrate } from '../src/migrations/index.js';
import { startEmbedded } from '../test/support/embedded.js';
import { genericPlan } from './generic-plan.js';
import { fillTables } from './sample-rows.js';
import { loadStatements, statementNamed } from './statements.js';

const DEFAULT_ROWS = 200_000;
const STATEMENT_TIMEOUT_MS = 600_000;

const USAGE = 'Usage: npm run explain -- [--rows N] [--costs] NAME. "npm run sql" lists all names.';

try {
  await explain();
} catch (error) {
  const { code } = error as NodeJS.ErrnoException;
  if (!(error instanceof RangeError) && !code?.startsWith('ERR_PARSE_ARGS')) throw error;
  console.error((error as Error).message);
  process.exitCode = 1;
}

async function explain(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { rows: { type: 'string', default: String(DEFAULT_ROWS) }, costs: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  if (positionals.length === 0) throw new RangeError(USAGE);
  const rows = Number(values.rows);
  if (!Number.isInteger(rows) || rows < 1)
    throw new RangeError(`--rows is ${values.rows}; it must be a count of jobs.`);
  const statement = statementNamed(positionals.join(' '), await loadStatements());
  const server = await startEmbedded({ version: process.env['PG_VERSION'], durable: false });
  try {
    await migrate({ connection: server.url });
    const client = await openPool(`${server.url}?max=1`, STATEMENT_TIMEOUT_MS);
    try {
      console.error(`Postgres ${server.version}, filling the tables with ${rows.toLocaleString('en')} jobs`);
      await fillTables(client, rows);
      console.log(await genericPlan(client, statement, values.costs));
    } finally {
      await closeClient(client);
    }
  } finally {
    await server.stop();
  }
}
