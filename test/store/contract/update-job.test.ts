import { pgStoreFactory } from './factory.js';
import { describeUpdateJob } from './suites/update-job.js';

describeUpdateJob(pgStoreFactory);
