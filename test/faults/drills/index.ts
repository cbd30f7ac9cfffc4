import type { Drill } from '../support/drill.js';
import { kill } from './kill.js';

/** In the order in which they run. */
export const DRILLS: readonly Drill[] = [kill];
