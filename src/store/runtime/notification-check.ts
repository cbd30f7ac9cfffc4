import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import type { Listener } from '../../db/listener.js';
import { columns, statement } from '../../db/statement.js';
import { generateId } from '../../model/ids.js';

/** Generous: the server sends it at the end of the statement. */
const ARRIVAL_LIMIT_MS = 3_000;

const notifyItself = statement(
  'notify itself',
  ['channel'],
  (_db, p) => sql`select ${columns(sql`count(pg_notify(${p.channel}, ''))`)}`,
  { repeatable: true },
);

/**
 * Whether notifications that are sent on the store's connections arrive at its listener. They do not where LISTEN goes
 * through a transaction pooler, or to another database.
 */
export class NotificationCheck {
  /** Kept from check to check, so that it is listened to again after an interruption. */
  readonly #channel = `conveyor:#check:${generateId()}`;
  #generation = 0;
  #arrived = () => {};

  /** Takes the notification of the check. @returns false for every other */
  receive(channel: string): boolean {
    if (channel !== this.#channel) return false;
    this.#arrived();
    return true;
  }

  /** Undefined when it cannot be found out: LISTEN was interrupted, or the notification could not be sent. */
  async run(executor: Executor, listener: Listener): Promise<boolean | undefined> {
    const generation = ++this.#generation;
    let timer: NodeJS.Timeout | undefined;
    try {
      await listener.listen(this.#channel);
      const arrived = new Promise<boolean>((resolve) => {
        this.#arrived = () => resolve(true);
        timer = setTimeout(() => resolve(false), ARRIVAL_LIMIT_MS);
        timer.unref();
      });
      // On another connection: a pooler passes on what the server tells the very connection that listens.
      await executor.run(notifyItself, { channel: this.#channel });
      return (await arrived) || (listener.connected && generation === this.#generation ? false : undefined);
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }
}
