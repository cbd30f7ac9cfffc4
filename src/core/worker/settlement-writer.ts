import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { isLockTimeout } from '../../db/errors.js';
import { ConnectionError } from '../../model/errors.js';
import type { Logger } from '../../model/logger.js';
import type { Settled, Settlement } from '../../store/settle/settle.js';

/** Pauses between tries, in ms. The last one repeats for as long as the database is unreachable. */
const RETRY_MS = [100, 500, 1_000, 2_000, 5_000, 5_000, 10_000];
/** What the database refuses for its content is unlikely to succeed later. */
const MAX_REFUSALS = RETRY_MS.length;

/** Undefined when nothing was written: the job is not active under that lease. */
export type WriteSettlement = (settlement: Settlement) => Promise<Settled | undefined>;

export interface SettlementWriterOptions {
  readonly logger: Logger;
  connected(): boolean;
}

/** Repeats failed settlements until they are written: an outage must not lose the end of a job. */
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
   * @param writeAlone outside of batches, for one that has to wait for a lock
   * @param failure the error of a first try that was made already
   */
  async write(
    settlement: Settlement,
    write: WriteSettlement,
    writeAlone: WriteSettlement,
    failure?: unknown,
  ): Promise<Settled | undefined> {
    let send = write;
    let earlier = failure;
    let lockTimeouts = 0;
    for (let attempt = 0; ; attempt++) {
      try {
        if (earlier !== undefined) throw earlier;
        return await send(settlement);
      } catch (error) {
        earlier = undefined;
        const refused = !(error instanceof ConnectionError) && attempt >= MAX_REFUSALS;
        if (refused || this.#stopped.signal.aborted || !this.#options.connected()) throw error;
        if (isLockTimeout(error)) {
          // An open transaction holds its parent's row, or a row of another settlement of its batch. The one that has
          // to wait does so alone, for as long as that takes.
          if (settlement.hasParent || lockTimeouts++ > 0) send = writeAlone;
          attempt = -1;
          continue;
        }
        this.#options.logger.warn(`conveyor: could not settle job "${settlement.id}", trying again`, error);
        const delay = RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] as number;
        await sleep(delay * (0.5 + Math.random()), undefined, { signal: this.#stopped.signal }).catch(() => {});
      }
    }
  }
}
