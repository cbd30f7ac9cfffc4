import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Up to `max` ms, for races and kills: work of a random length, or a random moment to interfere, makes each run
 * interleave differently. No test waits for a fact with it.
 */
export const randomPause = (max: number): Promise<void> => sleep(Math.random() * max);
