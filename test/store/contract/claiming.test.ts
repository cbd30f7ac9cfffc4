import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeClaiming } from './suites/claiming.js';
import { describeLocks } from './suites/locks.js';

describeClaiming(pgStoreFactory);
describeLocks(pgStoreFactory);
