import { setTimeout as sleep } from 'node:timers/promises';
import type { PgStore } from '../../src/index.js';
import { until } from './until.js';

export interface Statements {
  /** How many statements of this name were sent. */
  count(name: string | RegExp): number;
  /** How many of them were answered without an error. */
  answered(name: string | RegExp): number;
  readonly names: string[];
  /** Forgets what was counted so far. */
  reset(): void;
}

/** Counts the statements of a store from now on. */
export function countStatements(store: PgStore): Statements {
  const names: string[] = [];
  const answers: string[] = [];
  onStatements(store, async (name, run) => {
    names.push(name);
    const rows = await run();
    answers.push(name);
    return rows;
  });
  const count = (all: string[], name: string | RegExp) =>
    all.filter((n) => (typeof name === 'string' ? n === name : name.test(n))).length;
  return {
    names,
    count: (name) => count(names, name),
    answered: (name) => count(answers, name),
    reset: () => {
      names.length = 0;
      answers.length = 0;
    },
  };
}

type Run = () => Promise<unknown>;

/** Wraps each statement that a store sends; returns the function that ends this. */
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

/** Resolves when the store's worker has polled, found nothing and sends no more statements; resets the counters. */
export async function untilAsleep(statements: Statements): Promise<void> {
  await until(async () => {
    const { length } = statements.names;
    // Nothing reports the absence of statements: quiet is 50 ms without one.
    await sleep(50);
    return statements.count('poll') > 0 && statements.count(/^claim/) > 0 && statements.names.length === length;
  });
  statements.reset();
}

/** Ends attempts: the statement for nothing but completions, or the general one. */
export const isSettling = (name: string): boolean => /^(settle|complete)( |$)/.test(name);
