/** Migrates the given database and prints what was applied. */
import { migrate } from '../../src/migrations/index.js';

const result = await migrate({ connection: process.argv[2] as string });
console.log(JSON.stringify(result));
