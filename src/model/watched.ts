/**
 * Calls an app's callback, which may be async although its type does not say so. What it throws, or its promise rejects
 * with, goes to `failed` and nowhere else: an unhandled rejection would end the process.
 */
export function watched(call: () => unknown, failed: (error: unknown) => void): void {
  try {
    const result = call();
    if (isThenable(result)) result.then(undefined, failed);
  } catch (error) {
    failed(error);
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  value !== null && typeof value === 'object' && typeof (value as { then?: unknown }).then === 'function';
