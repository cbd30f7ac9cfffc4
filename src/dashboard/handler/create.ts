import { Links } from '../components/view.js';
import { LiveHub } from '../live/hub.js';
import { secured } from '../security/headers.js';
import { redactor } from '../security/redact.js';
import { buildApp } from './app.js';
import { type DashboardOptions, resolveDashboardOptions } from './options.js';

/** A fetch handler: for Hono, Next.js, Bun and Deno as it is, for Express and `node:http` by way of `toNodeListener`. */
export type Dashboard = (request: Request) => Promise<Response>;

/**
 * Makes the dashboard of a store's queues. Without `authorize` it is read-only.
 *
 * @throws TypeError or RangeError that names the option
 */
export function createDashboard(options: DashboardOptions): Dashboard {
  const { store, basePath, readOnly, authorize, redact } = resolveDashboardOptions(options);
  const context = {
    store,
    links: new Links(basePath),
    writable: !readOnly,
    authorize,
    redact: redactor(redact),
    hub: new LiveHub(store.engine),
    logger: store.engine.options.logger,
  };
  const app = buildApp(context, basePath);
  return async (request) => secured(await app.fetch(request));
}
