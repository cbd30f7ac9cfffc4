/** A dashboard over a store with jobs in all states. */
import { afterAll, beforeAll } from 'vitest';
import { createDashboard, type Dashboard, type DashboardOptions } from '../../src/dashboard/index.js';
import { PgStore } from '../../src/store/contract/pg-store.js';
import { type UsedDatabase, useDatabase } from '../support/database.js';

export const BASE = '/admin/queues';
export const HOST = 'http://app.test';

export interface UsedDashboard {
  readonly store: PgStore;
  readonly database: UsedDatabase;
  make(options?: Partial<DashboardOptions>): Site;
}

/** What a browser would do with a dashboard. */
export class Site {
  readonly handle: Dashboard;

  constructor(handle: Dashboard) {
    this.handle = handle;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return this.handle(new Request(`${HOST}${BASE}${path}`, { headers }));
  }

  async html(path: string): Promise<string> {
    return (await this.get(path)).text();
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const own = { 'content-type': 'application/json', origin: HOST, 'sec-fetch-site': 'same-origin', ...headers };
    const sent = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== ''));
    return this.handle(
      new Request(`${HOST}${BASE}${path}`, { method: 'POST', headers: sent, body: JSON.stringify(body) }),
    );
  }
}

/** A connected store and its database, from `beforeAll` to `afterAll`. */
export function useDashboard(): UsedDashboard {
  const database = useDatabase();
  let store: PgStore | undefined;
  beforeAll(async () => {
    store = new PgStore({ connection: database.url, autoMigrate: false, metrics: { enabled: true } });
    await store.connect();
  });
  afterAll(() => store?.disconnect());
  return {
    database,
    get store() {
      return store as PgStore;
    },
    make: (options = {}) =>
      new Site(createDashboard({ store: store as PgStore, basePath: BASE, authorize: () => true, ...options })),
  };
}
