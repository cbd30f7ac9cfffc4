import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeDelays } from './suites/delays.js';
import { describePauses } from './suites/pauses.js';

describeDelays(pgStoreFactory);
describePauses(pgStoreFactory);
