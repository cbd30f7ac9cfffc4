import { ConnectionError } from '../model/errors.js';

/**
 * The statement's answer, or `ConnectionError` after `ms`. A half-open connection answers nothing at all: the caller
 * must not wait for the kernel to notice. The statement is not cancelled from here: a cancel request stops whatever
 * the backend runs by then, which in a pipeline may be another caller's. Our own connections carry a
 * `statement_timeout` for the server's side.
 *
 * @param silent called when the time has passed
 */
export function withDeadline<T>(work: Promise<T>, ms: number, name: string, silent?: () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      silent?.();
      reject(new ConnectionError(`"${name}" did not answer within ${ms} ms.`));
    }, ms);
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
