import { ConveyorError } from '../../model/errors.js';
import type { Problem } from '../pages/problem.js';
import { redactText } from '../security/redact.js';

/** What an error is for the reader of a page, and for the sender of a verb. */
export function problemOf(error: unknown): Problem {
  const message = redactText(error instanceof Error ? error.message : String(error));
  if (error instanceof ConveyorError) {
    const { code } = error;
    if (code === 'JOB_NOT_FOUND') return { status: 404, title: 'No such job', message, code };
    return { status: 503, title: 'The database cannot be read', message, code };
  }
  if (error instanceof TypeError || error instanceof RangeError) {
    return { status: 400, title: 'Not possible', message };
  }
  const { code } = error as { code?: unknown };
  return {
    status: 500,
    title: 'The page could not be made',
    message,
    code: typeof code === 'string' ? code : undefined,
  };
}
