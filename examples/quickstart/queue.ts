/** What all processes agree on: what the queue is called, and what its jobs carry. */
import type { JobMap } from '@conveyor/store-pg';

/** main.ts gives each run a queue of its own. */
export const QUEUE = process.env['QUEUE'] ?? 'mail';

/** Job names, and the payload of each: `add` and the worker's handler are typed by this. */
export type MailJobs = JobMap<{
  /** Goes out at once. */
  welcome: { to: string };
  /** Goes out after a delay. */
  reminder: { to: string };
  /** Fails twice before it succeeds. */
  invoice: { to: string; amount: number };
}>;

/** Jobs of each kind that the producer adds, and that the report expects. */
export const AMOUNT = { welcome: 12, reminder: 3, invoice: 3 };
