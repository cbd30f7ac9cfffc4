import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeDeduplication } from './suites/deduplication.js';
import { describeJobs } from './suites/jobs.js';

describeJobs(pgStoreFactory);
describeDeduplication(pgStoreFactory);
