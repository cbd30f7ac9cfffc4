import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLockTimeout, isRefusal } from '../../db/errors.js';
import { ConveyorError } from '../../model/errors.js';
import type { Logger } from '../../model/logger.js';
import type { Settled, Settlement } from '../../store/settle/settle.js';
import { reduce } from './settlement-ladder.js';

/** Pauses between tries, in ms. The last one repeats for as long as the trouble lasts. */
const RETRY_MS = [100, 500, 1_000, 2_000, 5_000, 5_000, 10_000];

/** Undefined when nothing was written: the job is not active under that lease. */
export type WriteSettlement = (settlement: Settlement) => Promise<Settled | undefined>;

export interface Written {
  /** As it was written: with less than was wanted, if the database refused that. */
  readonly settlement: Settlement;
  readonly settled: Settled | undefined;
}

export interface SettlementWriterOptions {
  readonly logger: Logger;
  connected(): boolean;
  /** A settlement was written without a part that the database refused. */
  reduced(error: ConveyorError): void;
}

/**
 * Repeats failed settlements until they are written, for as long as the worker lives: an outage, a read-only server, a
 * full disk must not lose the end of a job. What the database refuses for its content is written with less.
 */
export class SettlementWriter {
  readonly #options: SettlementWriterOptions;
  readonly #stopped = new AbortController();

  constructor(options: SettlementWriterOptions) {
    this.#options = options;
    // During an outage every settlement listens to this signal, so many listeners are no leak.
    setMaxListeners(0, this.#stopped.signal);
  }

  /** Ends all repetition: what is not written by now is left to its lease. */
  stop(): void {
    this.#stopped.abort();
  }

  /**
   * @param write with others, if it is batched
   * @param writeAlone outside of batches, for one that has to wait for a lock or was refused
   * @param failure the error of a first try that was made already
   */
  async write(
    wanted: Settlement,
    write: WriteSettlement,
    writeAlone: WriteSettlement,
    failure?: unknown,
  ): Promise<Written> {
    let settlement = wanted;
    let send = write;
    let earlier = failure;
    let lockTimeouts = 0;
    const leftOut: string[] = [];
    for (let attempt = 0; ; attempt++) {
      try {
        if (earlier !== undefined) throw earlier;
        const settled = await send(settlement);
        if (settled && leftOut.length > 0) this.#options.reduced(partlyWritten(settlement.id, leftOut));
        return { settlement, settled };
      } catch (error) {
        earlier = undefined;
        if (this.#stopped.signal.aborted || !this.#options.connected()) throw error;
        if (isLockTimeout(error)) {
          // An open transaction holds its parent's row, or a row of another settlement of its batch. The one that has
          // to wait does so alone, for as long as that takes.
          if (settlement.hasParent || lockTimeouts++ > 0) send = writeAlone;
          attempt = -1;
          continue;
        }
        const less = isRefusal(error) ? reduce(settlement, error) : undefined;
        if (less) {
          this.#warn(settlement.id, `trying without ${less.leavesOut}`, error);
          settlement = less.settlement;
          leftOut.push(less.leavesOut);
          send = writeAlone;
          continue;
        }
        this.#warn(settlement.id, 'trying again', error);
        const delay = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] as number;
        await sleep(delay * (0.5 + Math.random()), undefined, { signal: this.#stopped.signal }).catch(() => {});
      }
    }
  }

  #warn(id: string, what: string, error: unknown): void {
    this.#options.logger.warn(`conveyor: could not settle job "${id}", ${what}`, error);
  }
}

const partlyWritten = (id: string, leftOut: readonly string[]) =>
  new ConveyorError(
    `The database refused a part of the end of job "${id}": it was written without ${leftOut.join(', ')}.`,
    {
      code: 'SETTLED_PARTLY',
    },
  );
