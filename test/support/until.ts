import { setTimeout as sleep } from 'node:timers/promises';

type Truthy<T> = Exclude<T, null | undefined | false | 0 | ''>;

export interface UntilOptions {
  /** In ms. Default 10 000. */
  timeout?: number;
  /** What is waited for, for the error. Default: the source of the fact. */
  what?: string;
}

/** Polls `fact` until it is truthy and resolves to its value; every 10 ms at first, every 50 ms later. */
export async function until<T>(fact: () => T | Promise<T>, options: UntilOptions = {}): Promise<Truthy<T>> {
  const timeout = options.timeout ?? 10_000;
  const error = new Error(); // made here, so that its stack names the test
  const deadline = performance.now() + timeout;
  let answer: T;
  for (let pause = 10; ; pause = Math.min(50, pause * 1.25)) {
    answer = await fact();
    if (answer) return answer as Truthy<T>;
    if (performance.now() >= deadline) break;
    await sleep(pause); // the polling of all facts that no event reports
  }
  error.message = `timed out after ${timeout} ms waiting for ${options.what ?? fact.toString()} (last value: ${String(answer)})`;
  throw error;
}

export interface Deferred<T> {
  promise: Promise<T>;
  resolve(value: T | PromiseLike<T>): void;
  reject(reason: unknown): void;
}

/** A promise with its handles outside. */
export function deferred<T = void>(): Deferred<T> {
  let resolve!: Deferred<T>['resolve'];
  let reject!: Deferred<T>['reject'];
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** A function that waits until it was called `n` times, and then lets all callers go at once. */
export function barrier(n: number): () => Promise<void> {
  const open = deferred();
  let arrived = 0;
  return () => {
    arrived += 1;
    if (arrived >= n) open.resolve();
    return open.promise;
  };
}
