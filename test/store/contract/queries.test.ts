import { pgStoreFactory } from './factory.js';
import { describeQueries } from './suites/queries.js';

describeQueries(pgStoreFactory);
