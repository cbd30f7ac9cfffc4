import { MAX_MESSAGE_LENGTH, MAX_STACK_LENGTH, messageOf, readChain, stackOf } from '../error-chain.js';
import { fieldOf } from '../read-field.js';
import { cap, cleanText } from '../text.js';
import { DEFAULT_MAX_PAYLOAD_BYTES, encodeLenient } from './values.js';

export interface ErrorText {
  /** The reason: why it failed, on its own. */
  readonly message: string;
  /** The stacks of the error and its causes; null when none of them has one. */
  readonly stack: string | null;
}

/**
 * What to store of anything that was thrown. Never throws; both texts can be stored, the message has at most 10,000
 * characters and the stack at most 20,000.
 *
 * The message is that of the error, followed by those of its causes that it does not repeat, outermost first:
 * `import failed: duplicate key value violates unique constraint "users_email_key" (23505, users_email_key)`.
 * - Errors of Postgres have their SQLSTATE and constraint after them.
 * - Drizzle's `Failed query: …` around such an error is left out: it explains nothing.
 * - Of an AggregateError the first five errors follow, separated by `; `.
 * - An error without a message gives its name, and its code if it has one.
 *
 * The stack has one part per error, `Caused by:` between them. Parameters of queries are in neither, nor is what the
 * server repeats of them: its `detail` and `where`, and the values that it quotes.
 */
export function errorText(error: unknown): ErrorText {
  try {
    const chain = readChain(error);
    const stack = stackOf(chain);
    const message = isPlainObject(error) ? encodeLenient(error, DEFAULT_MAX_PAYLOAD_BYTES).text : messageOf(chain);
    return {
      message: cap(cleanText(message), MAX_MESSAGE_LENGTH),
      stack: stack === null ? null : cap(cleanText(stack), MAX_STACK_LENGTH),
    };
  } catch {
    return { message: 'An error that cannot be read', stack: null };
  }
}

/** It has nothing that explains it. */
const isPlainObject = (thrown: unknown) =>
  typeof thrown === 'object' && thrown !== null && !fieldOf(thrown, 'message') && !fieldOf(thrown, 'name');
