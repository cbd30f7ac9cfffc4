import type { JobData } from '../../model/job.js';
import type { Logger } from '../../model/logger.js';
import type { StoredJob } from '../rows/stored-job.js';

/** How many reported rows are remembered, so that a page that is read every second does not report them each time. */
const MEMORY = 1_000;

/** Reports rows that were changed by hand to what a job cannot be, once each. */
export class DamagedRows {
  readonly #logger: Logger;
  readonly #said = new Set<string>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The job as it can be shown; a damaged one is reported. */
  read = <S extends StoredJob | null>(stored: S): S extends null ? null : JobData => {
    type Shown = S extends null ? null : JobData;
    if (stored === null) return null as Shown;
    const { job, damaged } = stored;
    if (damaged.length > 0) this.#report(job, damaged);
    return job as Shown;
  };

  #report({ queueName, id }: JobData, damaged: readonly string[]): void {
    const what = `${queueName}\n${id}\n${damaged.join()}`;
    if (this.#said.has(what)) return;
    if (this.#said.size >= MEMORY) this.#said.clear();
    this.#said.add(what);
    this.#logger.warn(
      `conveyor: the row of job "${id}" in queue "${queueName}" is damaged (${damaged.join(', ')}); it was read without`,
    );
  }
}
