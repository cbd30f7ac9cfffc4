// For event-data.test.ts: prints the events of a queue as they arrive.
import { PgStore } from '../../src/index.js';

const [connection, queueName] = process.argv.slice(2) as [string, string];
const store = new PgStore({ connection, autoMigrate: false });
store.subscribe(queueName, (event) => console.log(JSON.stringify(event)));
await store.connect();
console.log('"ready"');
