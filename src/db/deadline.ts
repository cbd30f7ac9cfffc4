/** The longest delay that a timer takes; a longer one fires at once. */
const MAX_DELAY_MS = 2_147_483_647;

/**
 * Settles as `work` does, or rejects with what `expired` returns once `ms` have passed. The work itself goes on; if it
 * fails later, that is not an unhandled rejection.
 *
 * A timer that fires very late means that the process was blocked or suspended: an answer may have arrived that has
 * not been read yet. The deadline is then extended by another `ms`.
 */
export function withDeadline<T>(work: PromiseLike<T>, ms: number, expired: () => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    const delay = Math.min(ms, MAX_DELAY_MS);
    let timer: NodeJS.Timeout;
    const wait = () => {
      const latest = performance.now() + delay * 1.5;
      timer = setTimeout(() => (performance.now() > latest ? wait() : reject(expired())), delay);
    };
    wait();
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

/** Resolves when `work` has succeeded or failed, or once `ms` have passed; never rejects. */
export async function settledWithin(work: PromiseLike<unknown>, ms: number): Promise<void> {
  await withDeadline(work, ms, () => undefined).catch(() => {});
}
