import { literal } from '../../db/tables.js';

/** `failedReason` of a cancelled job. */
export const CANCELLED_REASON = 'Job was cancelled';

/** What a parent is told of a child that was removed before it ended: `Child failed: …`. */
export const REMOVED_REASON = 'Job was removed';

export const cancelledReason = literal(CANCELLED_REASON);
export const removedReason = literal(REMOVED_REASON);
