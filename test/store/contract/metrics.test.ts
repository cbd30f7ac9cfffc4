import { pgStoreFactory } from './factory.js';
import { describeMetrics } from './suites/metrics.js';

describeMetrics(pgStoreFactory);
