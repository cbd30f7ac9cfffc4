import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeUpdateJob } from './suites/update-job.js';

describeUpdateJob(pgStoreFactory);
