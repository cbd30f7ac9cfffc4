import { literal } from '../../db/tables.js';

/** `failedReason` of a cancelled job. */
export const CANCELLED_REASON = 'Job cancelled';

/** The reason that a parent gets for a child that was removed before it ended: `Child failed: …`. */
export const REMOVED_REASON = 'Job was removed';

export const cancelledReason = literal(CANCELLED_REASON);
export const removedReason = literal(REMOVED_REASON);
