/** Migrates the database it is given and says what it did. */
import { migrate } from '../../src/migrations/index.js';

const result = await migrate({ connection: process.argv[2] as string });
console.log(JSON.stringify(result));
