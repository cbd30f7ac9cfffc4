import type { Executor } from '../../../db/executor.js';
import { integerIn } from '../../../model/options/names.js';
import { readOptions } from '../../../model/options/option-object.js';
import type { InvariantName, VerifyOptions, Violation } from '../../../model/violation.js';
import { FLOW_INVARIANTS } from './flow-invariants.js';
import type { Invariant } from './invariant.js';
import { JOB_INVARIANTS } from './job-invariants.js';
import { TABLE_INVARIANTS } from './table-invariants.js';

const INVARIANTS: readonly Invariant<InvariantName>[] = [...JOB_INVARIANTS, ...FLOW_INVARIANTS, ...TABLE_INVARIANTS];

const MAX_LIMIT = 1_000_000;

/** Checks one invariant after the other, each in a statement, and so a snapshot, of its own. */
export async function verify(executor: Executor, options: VerifyOptions = {}): Promise<Violation[]> {
  readOptions(options, 'options', ['limit']);
  const limit = integerIn(options.limit ?? 100, 'limit', 1, MAX_LIMIT);
  const violations: Violation[] = [];
  for (const { name, offenders } of INVARIANTS) {
    for (const [queueName, id, detail] of (await executor.run(offenders, { limit })) as string[][]) {
      violations.push({ invariant: name, queueName: queueName as string, id: id as string, detail: detail as string });
    }
  }
  return violations;
}
