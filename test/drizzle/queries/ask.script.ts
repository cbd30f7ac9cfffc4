/** Asks every question of the README's “Query jobs with Drizzle”, on the packed package, and says what the answers are. */
import { backlog } from './backlog.js';
import { db, store } from './db.js';
import { deleteFinished } from './delete-finished.js';
import { failureReasons } from './failure-reasons.js';
import { flowTree } from './flow-tree.js';
import { jobsOfUser } from './jobs-of-user.js';
import { retries } from './retries.js';
import { retryFailed } from './retry-failed.js';
import { slowest } from './slowest.js';
import { stuck } from './stuck.js';
import { throughput } from './throughput.js';

await store.connect();
const say = (name: string, answer: unknown) => console.log(JSON.stringify({ [name]: answer }));
say('backlog', await backlog());
say('failureReasons', await failureReasons());
say('jobsOfUser', await jobsOfUser('ada@example.com'));
say('slowest', await slowest());
say('retries', await retries());
say('flowTree', await flowTree('trees', 'root'));
say('throughput', await throughput('mail'));
say('stuck', await stuck());
say('retryFailed', await retryFailed('SMTP 421%'));
say('deleteFinished', await deleteFinished('old', 'welcome', 7));
await store.disconnect();
await db.$client.end();
