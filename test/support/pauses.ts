/** The pauses that tests make on purpose. To wait for a fact there is `until`. */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Up to `max` ms, for races and kills: work of a random length, or a random moment to interfere, makes each run
 * interleave differently.
 */
export const randomPause = (max: number): Promise<void> => sleep(Math.random() * max);

/** The work of a job so long (over 10 ms) that its worker claims no jobs ahead of free slots. */
export const longWork = (): Promise<void> => sleep(20);
