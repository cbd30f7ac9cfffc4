import { setTimeout as sleep } from 'node:timers/promises';
import type { PgStore } from '../../src/index.js';
import { until } from './until.js';

export interface Statements {
  /** How often each statement ran, by name. */
  count(name: string | RegExp): number;
  readonly names: string[];
  /** From now on nothing counts that came before. */
  reset(): void;
}

/** Counts the statements of a store from now on. */
export function countStatements(store: PgStore): Statements {
  const names: string[] = [];
  onStatements(store, (name, run) => {
    names.push(name);
    return run();
  });
  return {
    names,
    count: (name) => names.filter((n) => (typeof name === 'string' ? n === name : name.test(n))).length,
    reset: () => {
      names.length = 0;
    },
  };
}

type Run = () => Promise<unknown>;

/** Puts itself between a store and its statements; returns what takes it away again. */
export function onStatements(
  store: PgStore,
  around: (name: string, run: Run, values: Record<string, unknown>) => Promise<unknown>,
): () => void {
  const { executor } = store.engine;
  const run = executor.run;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the statement takes
  executor.run = ((statement: any, values: any, options: any) =>
    around(statement.name, () => run.call(executor, statement, values, options), values)) as typeof run;
  return () => {
    executor.run = run;
  };
}

/** Resolves when the store's worker has looked, found nothing and asks no more; then counting begins anew. */
export async function untilAsleep(statements: Statements): Promise<void> {
  await until(async () => {
    const { length } = statements.names;
    await sleep(50);
    return statements.count('poll') > 0 && statements.count(/^claim/) > 0 && statements.names.length === length;
  });
  statements.reset();
}

/** Ends attempts: the statement for nothing but completions, or the general one. */
export const isSettling = (name: string): boolean => /^(settle|complete)( |$)/.test(name);
