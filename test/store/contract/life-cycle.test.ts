import { pgStoreFactory } from './factory.js';
import { describeLifeCycle } from './suites/life-cycle.js';

describeLifeCycle(pgStoreFactory);
