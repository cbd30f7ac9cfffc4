import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeClaiming } from './suites/claiming.js';

describeClaiming(pgStoreFactory);
