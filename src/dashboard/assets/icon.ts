import type { Asset } from './generated.js';

/** Three jobs on a belt. */
export const ICON: Asset = {
  name: 'icon.svg',
  type: 'image/svg+xml',
  hash: 'v1',
  text: '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#2456b8"/><g fill="#fff"><rect x="5" y="11" width="6" height="6" rx="1.5"/><rect x="13" y="11" width="6" height="6" rx="1.5"/><rect x="21" y="11" width="6" height="6" rx="1.5"/><rect x="5" y="20" width="22" height="2.5" rx="1.25"/></g></svg>',
};
