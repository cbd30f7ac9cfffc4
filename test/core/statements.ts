import type { PgStore } from '../../src/index.js';

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
