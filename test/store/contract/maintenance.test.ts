import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeClean } from './suites/clean.js';
import { describeDrain } from './suites/drain.js';
import { describeObliterate } from './suites/obliterate.js';
import { describeRetryFlows } from './suites/retry-flows.js';
import { describeRetryJobs } from './suites/retry-jobs.js';

describeClean(pgStoreFactory);
describeDrain(pgStoreFactory);
describeObliterate(pgStoreFactory);
describeRetryJobs(pgStoreFactory);
describeRetryFlows(pgStoreFactory);
