import type postgres from 'postgres';
import type { PgStore, PgStoreOptions } from '../../../src/index.js';
import type { EmbeddedServer } from '../../support/embedded.js';
import type { Crew, CrewOptions } from './crew.js';
import type { Oracle } from './oracle.js';
import type { Random } from './random.js';

export interface Drill {
  /** As `--only` takes it. */
  readonly name: string;
  /** One line: what is done to whom, and what must hold. */
  readonly title: string;
  /** Not part of the short form. */
  readonly longOnly?: boolean;
  run(bench: Bench): Promise<void>;
}

/** Ends a drill that cannot be done on this machine; the reason is printed. */
export class Skip extends Error {}

/** What a drill works with. Everything that it opens ends with the drill. */
export interface Bench {
  readonly random: Random;
  readonly long: boolean;
  /** The first number in the short form, the second in the long one. */
  size(short: number, long: number): number;
  /** The run's server, and the drill's own database on it. */
  readonly server: EmbeddedServer;
  readonly url: string;
  readonly sql: postgres.Sql;
  /** The tables that handlers write, in the drill's database. */
  readonly oracle: Oracle;
  /** A connected store. */
  open(options?: Partial<PgStoreOptions>): Promise<PgStore>;
  /** Each row that contradicts an invariant of the store is a fault. Done at the end of every drill for its database. */
  verify(store?: PgStore): Promise<void>;
  /** A database on the run's server without tables. */
  emptyDatabase(): Promise<string>;
  /** Worker processes, which are respawned until the crew is dismissed. */
  crew(options: CrewOptions): Crew;
  /** Called at the end, last first. */
  defer(close: () => unknown): void;
  /** Printed, and shown in docs/reliability.md. */
  figure(name: string, value: string | number): void;
  /** Something that must not happen has happened. */
  fault(what: string): void;
  /** A fault unless `holds`. */
  check(holds: boolean, what: string): void;
}
