import type { Executor } from '../db/executor.js';
import type { JobData, JobState } from '../model/job.js';
import type { JobRecord } from './insert.js';

export async function saveFlow(_executor: Executor, _records: readonly JobRecord[]): Promise<string[]> {
  throw new Error('not yet');
}

export async function notifyChildCompleted(_executor: Executor, _queueName: string, _id: string): Promise<JobState> {
  throw new Error('not yet');
}

export async function failParent(_executor: Executor, _queueName: string, _id: string, _reason: string): Promise<boolean> {
  throw new Error('not yet');
}

export async function getChildrenJobs(_executor: Executor, _queueName: string, _id: string): Promise<JobData[]> {
  throw new Error('not yet');
}
