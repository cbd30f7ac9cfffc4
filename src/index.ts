/** Conveyor's job queue on Postgres: the store, and the core over it. */
export * from './core/index.js';
export { type MigrateOptions, migrate } from './migrations/index.js';
export type { InvariantName, VerifyOptions, Violation } from './model/violation.js';
export { PgStore } from './store/contract/pg-store.js';
export type { PgStoreOptions } from './store/runtime/options.js';
