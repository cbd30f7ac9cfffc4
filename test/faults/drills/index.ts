import type { Drill } from '../support/drill.js';
import { kill } from './kill.js';
import { restart } from './restart.js';
import { statements } from './statements.js';
import { stop } from './stop.js';
import { terminate } from './terminate.js';

/** In the order in which they run. */
export const DRILLS: readonly Drill[] = [kill, stop, terminate, restart, statements];
