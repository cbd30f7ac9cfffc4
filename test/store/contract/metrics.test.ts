import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeMetrics } from './suites/metrics.js';

describeMetrics(pgStoreFactory);
