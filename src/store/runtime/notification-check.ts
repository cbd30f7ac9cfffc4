import { sql } from 'drizzle-orm';
import type { Executor } from '../../db/executor.js';
import type { Listener } from '../../db/listener.js';
import { columns, statement } from '../../db/statement.js';
import { generateId } from '../../model/ids.js';
import type { Logger } from '../../model/logger.js';

/** Generous: the server sends it at the end of the statement. */
const ARRIVAL_LIMIT_MS = 3_000;
/** After so many heartbeats without any notification one is sent: not with each, as that would keep a pooled connection open. */
const SILENT_BEATS = 6;

const UNHEARD =
  'conveyor: LISTEN hears no notifications, most likely because it goes through a transaction pooler, or to another ' +
  'database. The store polls every second instead. Set `listen` to the URL of the server itself';

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
  /** When one arrived, or a check began. */
  #lastSign = Number.NEGATIVE_INFINITY;
  /** Any notification has arrived on the present connection. */
  #hadArrived = false;
  /** As far as is known, notifications arrive while LISTEN is connected. */
  heard = true;

  /** Whether a heartbeat is to check: notifications do not arrive, or none has for long. */
  due(heartbeatInterval: number): boolean {
    if (!this.heard) return true;
    // Half a beat less, because timers are not exact.
    return performance.now() - this.#lastSign > (SILENT_BEATS - 0.5) * heartbeatInterval;
  }

  /** A connection has been opened. */
  reconnected(): void {
    this.#hadArrived = false;
  }

  /** Notes that a notification arrived, and takes that of the check. @returns false for every other */
  receive(channel: string): boolean {
    this.#lastSign = performance.now();
    this.#hadArrived = true;
    if (channel !== this.#channel) return false;
    this.#arrived();
    return true;
  }

  /**
   * Checks, and reports a change. A connection on which notifications no longer arrive is replaced first: the new one is
   * checked in turn.
   *
   * @param current whether the listener is still in use
   * @returns whether `heard` has changed
   */
  async changed(executor: Executor, listener: Listener, logger: Logger, current: () => boolean): Promise<boolean> {
    const arrived = await this.run(executor, listener);
    if (arrived === undefined || !current() || arrived === this.heard) return false;
    if (!arrived && this.#hadArrived) {
      listener.reconnect('notifications no longer arrive on it');
      return false;
    }
    this.heard = arrived;
    if (arrived) logger.info('conveyor: LISTEN receives notifications again');
    else logger.warn(UNHEARD);
    return true;
  }

  /** Undefined when it cannot be found out: LISTEN was interrupted, or the notification could not be sent. */
  async run(executor: Executor, listener: Listener): Promise<boolean | undefined> {
    const generation = ++this.#generation;
    this.#lastSign = performance.now();
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
