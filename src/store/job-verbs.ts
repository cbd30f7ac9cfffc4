import type { Executor } from '../db/executor.js';
import type { JobState } from '../model/job.js';
import type { Fence } from './jobs.js';
import type { ParentChange } from './settle.js';

/** What a verb found and did. */
export interface VerbAnswer {
  /** The state before; null: there is no such job. */
  readonly found: JobState | null;
  readonly done: boolean;
  readonly parents: ParentChange[];
}

export interface CancelAnswer {
  readonly outcome: 'ended' | 'signalled' | 'not-cancellable' | 'missing';
  /** The state before; null: there is no such job. */
  readonly state: JobState | null;
  readonly parents: ParentChange[];
}

export async function cancelJob(_e: Executor, _q: string, _id: string): Promise<CancelAnswer> {
  throw new Error('not yet');
}
export async function removeOne(_e: Executor, _q: string, _id: string): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function retryOne(_e: Executor, _q: string, _id: string): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function failOne(
  _e: Executor,
  _q: string,
  _id: string,
  _reason: string,
  _stack: string | null,
  _fence: Fence | null,
): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function delayOne(
  _e: Executor,
  _q: string,
  _id: string,
  _untilMs: number,
  _fence: Fence | null,
): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function promoteOne(_e: Executor, _q: string, _id: string): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function changeDelay(_e: Executor, _q: string, _id: string, _ms: number): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function changePriority(_e: Executor, _q: string, _id: string, _priority: number): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function updateData(_e: Executor, _q: string, _id: string, _data: string): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function discardOne(_e: Executor, _q: string, _id: string): Promise<VerbAnswer> {
  throw new Error('not yet');
}
export async function clearLogs(_e: Executor, _q: string, _id: string, _keep: number): Promise<VerbAnswer> {
  throw new Error('not yet');
}
