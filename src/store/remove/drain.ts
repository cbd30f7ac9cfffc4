import type { Executor } from '../../db/executor.js';
import { validateQueueName } from '../../model/options/names.js';
import { type Done, horizon, together } from './chunks.js';
import { removeAll } from './delete.js';
import { beforeSeq, removalOfRoots, removalOfState } from './delete-in-state.js';

const bound = beforeSeq('drain');
/** Parents before their children, and then in the order in which a job goes from one state to the next. */
const STATEMENTS = [
  removalOfRoots(bound),
  removalOfState('waiting-children', bound),
  removalOfState('delayed', bound),
  removalOfState('waiting', bound),
];

/** Removes what has not begun yet: waiting, delayed and waiting-children jobs that are there when it is called. */
export async function drain(executor: Executor, queueName: string): Promise<Done> {
  const queue = validateQueueName(queueName);
  const { seq } = await horizon(executor);
  const done: Done[] = [];
  for (const statements of STATEMENTS) done.push(await removeAll(executor, statements, { queue, seq }));
  return together(...done);
}
