import type { Curve } from './curve.js';
import { concurrency, payloads } from './load.js';
import { pinned } from './pinned.js';
import { backlog, history } from './rows.js';

export const CURVES: Readonly<Record<string, Curve>> = {
  'curve:backlog': backlog,
  'curve:history': history,
  'curve:pinned': pinned,
  'curve:concurrency': concurrency,
  'curve:payload': payloads,
};
