import type { Executor } from '../db/executor.js';
import type { JobRecord, Saved } from './insert.js';

export async function insertIntoGroup(_e: Executor, _r: JobRecord, _groupId: string, _maxSize: number): Promise<Saved> {
  throw new Error('not yet');
}
