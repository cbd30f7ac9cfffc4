import { randomFillSync, randomUUID } from 'node:crypto';
import { v7 } from 'uuid';

const BYTES = 16;
/** One call for the random bytes of so many ids: asking for each alone takes ten times as long as all the rest. */
const pool = new Uint8Array(BYTES * 256);
let taken = pool.length;
let lastMs = 0;
let seq = 0;

function random(): Uint8Array {
  if (taken === pool.length) {
    randomFillSync(pool);
    taken = 0;
  }
  taken += BYTES;
  return pool.subarray(taken - BYTES, taken);
}

/**
 * A new job id: a UUID v7. Ids of one process ascend, also within a millisecond and when the clock steps back, so that
 * inserts stay at one end of the primary key's index.
 */
export function generateId(): string {
  const now = Date.now();
  const bytes = random();
  if (now > lastMs) {
    lastMs = now;
    // 30 random bits: room to count up within the 32 that a v7 has for it.
    seq = ((bytes[0] as number) << 22) | ((bytes[1] as number) << 14) | ((bytes[2] as number) << 6);
  } else {
    seq++;
  }
  return v7({ random: bytes, msecs: lastMs, seq });
}

/** A new worker id: `worker-` and a random UUID. */
export function generateWorkerId(): string {
  return `worker-${randomUUID()}`;
}
