import { readOptions } from '../../model/options/option-object.js';
import { show } from '../../model/text.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import type { Authorize } from '../security/access.js';
import type { Redact } from '../security/redact.js';

export interface DashboardOptions {
  /** The store whose queues are shown. The dashboard neither connects nor disconnects it. */
  store: PgStore;
  /** The path under which the handler is mounted, such as `/dashboard`. Default: the root. */
  basePath?: string;
  /** No verb is offered, and every write is refused. Default false; without `authorize` it is read-only all the same. */
  readOnly?: boolean;
  /**
   * Whether a request is answered: asked for every page and stream with `'read'`, and for every verb with `'write'`. True
   * consents; false is refused with 403; a `Response`, such as a redirect to a login, is sent in place of that. A hook
   * that throws does not consent. Without it everybody who reaches the handler may read, and nobody may write.
   */
  authorize?: Authorize;
  /**
   * Hides more than the default, which hides values by their key (`password`, `token`, `secret`, `authorization`,
   * `apiKey` and the like): gets what of a job is shown after that, and returns what is shown.
   */
  redact?: Redact;
}

export interface ResolvedDashboardOptions {
  readonly store: PgStore;
  /** Without a slash at its end; empty for the root. */
  readonly basePath: string;
  readonly readOnly: boolean;
  readonly authorize: Authorize | undefined;
  readonly redact: Redact | undefined;
}

const KNOWN = ['store', 'basePath', 'readOnly', 'authorize', 'redact'] as const;

/** @throws TypeError or RangeError that names the option */
export function resolveDashboardOptions(options: DashboardOptions): ResolvedDashboardOptions {
  readOptions(options, 'createDashboard options', KNOWN);
  const { store, basePath = '', readOnly = false, authorize, redact } = options;
  if (!store?.engine) throw new TypeError('createDashboard options.store must be a PgStore.');
  if (typeof readOnly !== 'boolean')
    throw new TypeError(`options.readOnly is ${show(readOnly)}; it must be a boolean.`);
  for (const [name, hook] of Object.entries({ authorize, redact })) {
    if (hook !== undefined && typeof hook !== 'function') {
      throw new TypeError(`options.${name} is ${show(hook)}; it must be a function.`);
    }
  }
  return { store, basePath: pathOf(basePath), readOnly: readOnly || !authorize, authorize, redact };
}

function pathOf(path: unknown): string {
  if (typeof path !== 'string') throw new TypeError(`options.basePath is ${show(path)}; it must be a string.`);
  const plain = path.replace(/\/+$/, '');
  // As an address has it: what a URL would change would never match.
  if (
    plain !== '' &&
    (!/^\/[^?#\\]*$/.test(plain) || new URL(plain, 'http://x').pathname !== plain || plain.startsWith('//'))
  ) {
    throw new RangeError(`options.basePath is ${show(path)}; it must be a path such as "/dashboard".`);
  }
  return plain;
}
