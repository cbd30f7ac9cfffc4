import type { Executor } from '../db/executor.js';
import type { JobData } from '../model/job.js';
import type { UpdateJobOptions } from '../model/store-interface.js';
import type { Engine } from './engine.js';
import type { Fences } from './fences.js';

export async function updateJob(
  _engine: Engine,
  _fences: Fences,
  _queueName: string,
  _id: string,
  _updates: Partial<JobData>,
  _options: UpdateJobOptions,
): Promise<void> {
  throw new Error('not yet');
}

export async function extendLock(
  _executor: Executor,
  _fences: Fences,
  _queueName: string,
  _id: string,
  _ms: number,
): Promise<boolean> {
  throw new Error('not yet');
}

export async function releaseLock(_executor: Executor, _fences: Fences, _queueName: string, _id: string): Promise<void> {
  throw new Error('not yet');
}

export async function removeFenced(_executor: Executor, _fences: Fences, _queueName: string, _id: string): Promise<void> {
  throw new Error('not yet');
}
