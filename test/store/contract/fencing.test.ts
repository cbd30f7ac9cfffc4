import { pgStoreFactory } from './factory.js';
import { describeFencing } from './suites/fencing.js';

describeFencing(pgStoreFactory);
