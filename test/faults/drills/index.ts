import type { Drill } from '../support/drill.js';
import { clocks } from './clocks.js';
import { errors } from './errors.js';
import { failover } from './failover.js';
import { flows } from './flows.js';
import { kill } from './kill.js';
import { limits } from './limits.js';
import { migrations } from './migrations.js';
import { network } from './network.js';
import { restart } from './restart.js';
import { schedules } from './schedules.js';
import { statements } from './statements.js';
import { stop } from './stop.js';
import { terminate } from './terminate.js';
import { values } from './values.js';

/** In the order in which they run. */
export const DRILLS: readonly Drill[] = [
  kill,
  stop,
  terminate,
  restart,
  statements,
  network,
  clocks,
  limits,
  schedules,
  flows,
  errors,
  migrations,
  values,
  failover,
];
