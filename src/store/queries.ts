import type { Executor } from '../db/executor.js';
import type { JobData, JobState } from '../model/job.js';
import type { JobCounts, QueueInfo, SearchFilter } from '../model/store-interface.js';
import type { StoredJob } from './job-row.js';

const todo = (): never => {
  throw new Error('not there yet');
};
export const countActive = async (_e: Executor, _q: string): Promise<number> => todo();
export const countByState = async (_e: Executor, _q: string, _s: JobState): Promise<number> => todo();
export const countGroupActive = async (_e: Executor, _q: string, _g: string): Promise<number> => todo();
export const countGroupWaiting = async (_e: Executor, _q: string, _g: string): Promise<number> => todo();
export const countStates = async (_e: Executor, _q: string): Promise<JobCounts> => todo();
export const listFlowParents = async (_e: Executor, _s: JobState | undefined, _l: number): Promise<JobData[]> => todo();
export const listJobs = async (_e: Executor, _q: string, _s: JobState, _f: number, _t: number): Promise<JobData[]> => todo();
export const listQueues = async (_e: Executor): Promise<QueueInfo[]> => todo();
export const nextDelayed = async (_e: Executor, _q: string): Promise<number | null> => todo();
export const searchByName = async (_e: Executor, _t: string, _q: string | undefined, _l: number): Promise<JobData[]> => todo();
export const searchByPayload = async (_e: Executor, _q: string, _t: string, _l: number): Promise<JobData[]> => todo();
export const searchJobs = async (
  _e: Executor, _f: SearchFilter, _s: number, _t: number,
): Promise<{ jobs: JobData[]; total: number }> => todo();
export const stalledJobs = async (_e: Executor, _q: string): Promise<StoredJob[]> => todo();
