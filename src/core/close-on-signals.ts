import { constants } from 'node:os';
import type { Duration } from '../model/job.js';
import { defaultLogger, type Logger } from '../model/logger.js';
import { durationIn, MAX_TIMER_MS } from '../model/options/duration.js';
import { readOptions } from '../model/options/option-object.js';
import { show } from '../model/text.js';
import { PgStore } from '../store/contract/pg-store.js';
import { FlowProducer } from './queue/flow-producer.js';
import { Queue } from './queue/queue.js';
import { Worker } from './worker/worker.js';

/** Something to close when the process is to end; functions are called last, in the order given. */
// biome-ignore lint/suspicious/noExplicitAny: queues and workers of any jobs
export type Closable = Worker<any> | Queue<any> | FlowProducer<any> | PgStore | (() => unknown);

export interface CloseOnSignalsOptions {
  /** Default `['SIGTERM', 'SIGINT']`. */
  signals?: NodeJS.Signals[];
  /**
   * For all of it, ms or a duration; workers get 3,000 less for the jobs that run. Default 28,000, as orchestrators kill after 30 s.
   * Then the process exits.
   */
  timeout?: Duration;
}

export interface CloseOnSignals {
  /** Resolves to the signal when everything is closed, also when closing something failed. */
  readonly closed: Promise<NodeJS.Signals>;
  /** Stops waiting for signals. No effect once one has arrived. */
  cancel(): void;
}

const DEFAULT_TIMEOUT_MS = 28_000;
/** A signal this soon after the first is the same one: a terminal sends it, and what runs the process forwards it. */
const REPEATED_MS = 500;
const UNCATCHABLE: readonly string[] = ['SIGKILL', 'SIGSTOP'];
/** Of the time limit, for what follows after the workers. */
const AFTER_WORKERS_MS = 3_000;

/**
 * Closes workers, then queues and flows, then stores, then calls functions, when a signal asks the process to end. The
 * order of the arguments is of no importance, except among functions.
 *
 * The process then ends by itself, once nothing keeps it running, with its own exit code, or 1 if closing something
 * failed. It is made to exit at the time limit, with 1 if something is not closed yet; and by a second signal, half a
 * second after the first or later, at once, with 128 plus the signal's number.
 *
 * @example closeOnSignals(worker, queue, store, () => client.end());
 * @throws TypeError or RangeError for what cannot be closed, and for bad options
 */
export function closeOnSignals(...args: (Closable | CloseOnSignalsOptions)[]): CloseOnSignals {
  const last = args.at(-1);
  const options = last !== undefined && !isClosable(last) ? last : {};
  const closables = args.filter((arg) => arg !== options) as Closable[];
  for (const closable of closables) {
    if (!isClosable(closable)) {
      throw new TypeError(
        `closeOnSignals() takes workers, queues, flows, stores and functions, not ${show(closable)}.`,
      );
    }
  }
  readOptions(options, 'closeOnSignals options', ['signals', 'timeout']);
  const { signals = ['SIGTERM', 'SIGINT'] } = options;
  const unknown = signals.find((signal) => !(signal in constants.signals) || UNCATCHABLE.includes(signal));
  if (unknown !== undefined) throw new RangeError(`closeOnSignals() cannot receive the signal ${show(unknown)}.`);
  const timeout = durationIn(options.timeout ?? DEFAULT_TIMEOUT_MS, 'timeout', 1, MAX_TIMER_MS);

  let resolve: (signal: NodeJS.Signals) => void;
  const closed = new Promise<NodeJS.Signals>((resolved) => {
    resolve = resolved;
  });
  let receivedAt: number | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    if (receivedAt === undefined) {
      receivedAt = performance.now();
      void closeAll(closables, timeout).then(() => resolve(signal));
    } else if (performance.now() - receivedAt > REPEATED_MS) {
      process.exit(128 + (constants.signals[signal] ?? 0));
    }
  };
  for (const signal of signals) process.on(signal, onSignal);
  return {
    closed,
    cancel: () => {
      if (receivedAt === undefined) for (const signal of signals) process.off(signal, onSignal);
    },
  };
}

function isClosable(value: unknown): value is Closable {
  return typeof value === 'function' || [Worker, Queue, FlowProducer, PgStore].some((type) => value instanceof type);
}

/** Never rejects. */
async function closeAll(closables: readonly Closable[], timeout: number): Promise<void> {
  let done = false;
  const logger = loggerOf(closables);
  setTimeout(() => {
    if (!done) logger.error(`conveyor: could not close everything within ${timeout} ms`);
    process.exit(done ? undefined : 1);
  }, timeout).unref();
  const attempt = async (close: () => unknown) => {
    try {
      await close();
    } catch (error) {
      process.exitCode = 1;
      logger.error('conveyor: could not close everything', error);
    }
  };
  const workers = closables.filter((one) => one instanceof Worker);
  await Promise.all(workers.map((one) => attempt(() => one.close(Math.max(0, timeout - AFTER_WORKERS_MS)))));
  const producers = closables.filter((one) => one instanceof Queue || one instanceof FlowProducer);
  await Promise.all(producers.map((one) => attempt(() => one.close())));
  const stores = closables.filter((one) => one instanceof PgStore);
  await Promise.all(stores.map((one) => attempt(() => one.disconnect())));
  for (const one of closables) if (typeof one === 'function') await attempt(one);
  done = true;
}

function loggerOf(closables: readonly Closable[]): Logger {
  return closables.find((one) => one instanceof PgStore)?.engine.options.logger ?? defaultLogger;
}
