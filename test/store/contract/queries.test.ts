import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeQueries } from './suites/queries.js';

describeQueries(pgStoreFactory);
