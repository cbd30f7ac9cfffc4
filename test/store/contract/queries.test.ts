import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeQueries } from './suites/queries.js';
import { describeSearch } from './suites/search.js';

describeQueries(pgStoreFactory);
describeSearch(pgStoreFactory);
