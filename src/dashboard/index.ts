/** The dashboard: pages about the queues of a store, behind a fetch handler. It needs the optional peer `hono`. */

export { createDashboard, type Dashboard } from './handler/create.js';
export { type NodeListener, toNodeListener } from './handler/node.js';
export type { DashboardOptions } from './handler/options.js';
export type { Access, Authorize } from './security/access.js';
export type { Redact, ShownJob } from './security/redact.js';
