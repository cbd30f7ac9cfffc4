import { randomFillSync, randomUUID } from 'node:crypto';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
/** Random bytes for one id: 4 that the counter may begin with, and 6 behind it. */
const BYTES = 10;
/** One call for the random bytes of so many ids: asking for each alone takes ten times as long as all the rest. */
const pool = Buffer.alloc(BYTES * 1024);
let taken = pool.length;
/** The same in hexadecimal. */
let hex = '';
let lastMs = 0;
let seq = 0;
let headSeq = -1;
/** What the ids of a millisecond and of the same upper bits of `seq` begin with. */
let head = '';

/**
 * A new job id: a UUID v7. Ids of one process ascend, also within a millisecond and when the clock steps back, so that
 * inserts stay at one end of the primary key's index.
 */
export function generateId(): string {
  const now = Date.now();
  if (taken === pool.length) {
    randomFillSync(pool);
    hex = pool.toString('hex');
    taken = 0;
  }
  const at = taken;
  taken += BYTES;
  if (now > lastMs) {
    lastMs = now;
    // 30 random bits: room to count up within the 32 that are for it.
    seq = pool.readUInt32LE(at) >>> 2;
    headSeq = -1;
  } else seq++;
  return v7(at);
}

/** 48 bits of time, 4 of version, 12 of `seq`, 2 of variant, 20 of `seq`, 42 random. */
function v7(at: number): string {
  if (headSeq !== seq >>> 14) {
    headSeq = seq >>> 14;
    const time = lastMs.toString(16).padStart(12, '0');
    const upper = (seq >>> 20).toString(16).padStart(3, '0');
    head = `${time.slice(0, 8)}-${time.slice(8)}-7${upper}-${HEX[0x80 | (headSeq & 0x3f)]}`;
  }
  const last = ((seq << 2) & 0xff) | ((pool[at + 4] as number) & 3);
  return `${head}${`${HEX[(seq >>> 6) & 0xff]}-${HEX[last]}`}${hex.slice(2 * at + 10, 2 * at + 20)}`;
}

/** A new worker id: `worker-` and a random UUID. */
export function generateWorkerId(): string {
  return `worker-${randomUUID()}`;
}
