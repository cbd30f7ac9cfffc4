import { pgStoreFactory } from './factory.js';
import { describeClaiming } from './suites/claiming.js';

describeClaiming(pgStoreFactory);
