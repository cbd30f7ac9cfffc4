// For worker-wake.test.ts: prints when it is idle, then each job that it ran and how often it has polled since.
import { PgStore, Worker } from '../../src/index.js';
import { countStatements, untilAsleep } from '../support/statements.js';

const [connection, queueName, how] = process.argv.slice(2) as [string, string, string?];
const store = new PgStore({ connection, autoMigrate: false, listen: how !== 'polling' });
await store.connect();
const statements = countStatements(store);
const say = (line: unknown) => console.log(JSON.stringify(line));
new Worker(queueName, async (job) => say({ ran: job.id, polls: statements.count('poll') }), { store });
await untilAsleep(statements);
say('idle');
