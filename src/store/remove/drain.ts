import type { Executor } from '../../db/executor.js';
import { validateQueueName } from '../../model/options/names.js';
import { type BulkResult, combine, cutoff } from './chunks.js';
import { deleteAll } from './delete.js';
import { beforeSeq, deletionInState, deletionOfRoots } from './delete-in-state.js';

const bound = beforeSeq('drain');
/** Parents before their children, and then in the order in which a job goes from one state to the next. */
const STATEMENTS = [
  deletionOfRoots(bound),
  deletionInState('waiting-children', bound),
  deletionInState('delayed', bound),
  deletionInState('waiting', bound),
];

/** Removes what has not begun yet: waiting, delayed and waiting-children jobs that are there when it is called. */
export async function drain(executor: Executor, queueName: string): Promise<BulkResult> {
  const queue = validateQueueName(queueName);
  const { seq } = await cutoff(executor);
  const done: BulkResult[] = [];
  for (const statements of STATEMENTS) done.push(await deleteAll(executor, statements, { queue, seq }));
  return combine(...done);
}
