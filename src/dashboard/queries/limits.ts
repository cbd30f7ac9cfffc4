/** What a page may cost the database, however many jobs there are. */

/** ms until a page reports that the database did not answer. */
export const PAGE_TIMEOUT = 5_000;
/** ms for a search through payloads, which no index serves. */
export const SEARCH_TIMEOUT = 10_000;
/** Jobs of a state are counted up to here; beyond it there is an estimate. */
export const COUNT_CAP = 10_000;
/** Jobs that one page of a filtered list looks through at most. */
export const SCAN_CAP = 20_000;
export const MAX_QUEUES = 200;
export const PAGE_SIZE = 50;
