import type { Logger } from '../../model/logger.js';
import type { PgStore } from '../../store/contract/pg-store.js';
import type { Links, View } from '../components/view.js';
import type { LiveHub } from '../live/hub.js';
import type { Authorize } from '../security/access.js';
import type { Redact } from '../security/redact.js';

/** What the routes of one dashboard share. */
export interface Context {
  readonly store: PgStore;
  readonly links: Links;
  readonly writable: boolean;
  readonly authorize: Authorize | undefined;
  readonly redact: Redact;
  readonly hub: LiveHub;
  readonly logger: Logger;
}

export const viewOf = ({ links, writable }: Context): View => ({ links, writable, now: Date.now() });
