import { isLockTimeout } from '../../db/errors.js';
import type { Executor } from '../../db/executor.js';
import type { ParentChange } from '../rules/cascade.js';
import { type Settled, type Settlement, settle, settledAlready } from '../settle/settle.js';
import { Batcher, type BatchItem, MAX_BATCH } from './batcher.js';

/**
 * How long a batch waits for a row that another transaction has locked: longer than the server takes to detect a
 * deadlock. A job whose parent or key is locked by an app's open transaction must not hold up all the others.
 */
const BATCH_LOCK_TIMEOUT_MS = 2_000;
/** How long a settlement that is sent alone waits, before the next one has its turn. */
const SINGLE_LOCK_TIMEOUT_MS = 250;

export interface SettleQueueOptions {
  executor: () => Executor;
  metrics: boolean;
  /** The row of each metrics bucket that this process adds to. */
  shard: number;
  /** Receives the ancestors that have changed: also when the statement fails after a part of it was committed. */
  onParentChanges: (parents: readonly ParentChange[]) => void;
}

/**
 * Settles jobs, together while a settle statement is under way. Every method answers undefined where the lease was
 * lost; nothing was written then.
 */
export class SettleQueue {
  readonly #options: SettleQueueOptions;
  readonly #batches: Batcher<Settlement, Settled | undefined>;
  #lastSingle: Promise<unknown> = Promise.resolve();

  constructor(options: SettleQueueOptions) {
    this.#options = options;
    this.#batches = new Batcher((batch) => this.#settle(batch, BATCH_LOCK_TIMEOUT_MS), {
      ...MAX_BATCH,
      parallel: 1,
      // Sent one by one, each of them could wait for the lock, and everything behind it as well.
      neverSplitOn: isLockTimeout,
    });
  }

  /** @param size approximate bytes that it adds to the statement */
  push(settlement: Settlement, size = 1): Promise<Settled | undefined> {
    return this.#batches.push(settlement, size);
  }

  add(item: BatchItem<Settlement, Settled | undefined>): void {
    this.#batches.add(item);
  }

  /**
   * For a settlement that waits for another transaction: outside the batches, and one at a time. Otherwise the ones that
   * wait would occupy all connections.
   */
  alone(settlement: Settlement): Promise<Settled | undefined> {
    return this.#inTurn(() => this.#settle([settlement], SINGLE_LOCK_TIMEOUT_MS));
  }

  /** Settles the job only if it is active under this lease still: an earlier, equal settlement does not count. */
  async ifActive(settlement: Settlement): Promise<Settled | undefined> {
    const [settled] = await this.#settleActive([settlement], SINGLE_LOCK_TIMEOUT_MS);
    return settled;
  }

  /** The same for a settlement that waits for another transaction. */
  aloneIfActive(settlement: Settlement): Promise<Settled | undefined> {
    return this.#inTurn(() => this.#settleActive([settlement], SINGLE_LOCK_TIMEOUT_MS));
  }

  /** Resolves when no batch is queued or under way. */
  idle(): Promise<void> {
    return this.#batches.idle();
  }

  #inTurn(settleOne: () => Promise<(Settled | undefined)[]>): Promise<Settled | undefined> {
    const settled = this.#lastSingle.then(settleOne).then(([one]) => one);
    this.#lastSingle = settled.catch(() => {});
    return settled;
  }

  /** A settlement that finds its job settled by itself counts: the answer to an earlier attempt may have been lost. */
  async #settle(batch: Settlement[], lockTimeout: number): Promise<(Settled | undefined)[]> {
    const outcomes = await this.#settleActive(batch, lockTimeout);
    const open = batch.flatMap((_, i) => (outcomes[i] ? [] : [i]));
    if (open.length === 0) return outcomes;
    const already = await settledAlready(
      this.#options.executor(),
      open.map((i) => batch[i] as Settlement),
    );
    for (const [k, i] of open.entries()) outcomes[i] = already[k];
    return outcomes;
  }

  async #settleActive(batch: Settlement[], lockTimeout: number): Promise<(Settled | undefined)[]> {
    const { executor, shard, onParentChanges } = this.#options;
    const metrics = this.#options.metrics && batch.every(({ metered }) => metered !== false);
    const parents: ParentChange[] = [];
    try {
      const { outcomes } = await settle(executor(), batch, { metrics, shard, lockTimeout }, parents);
      return outcomes;
    } finally {
      onParentChanges(parents);
    }
  }
}
