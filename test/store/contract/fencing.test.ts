import { pgStoreFactory } from '../../support/contract-stores.js';
import { describeFencing } from './suites/fencing.js';

describeFencing(pgStoreFactory);
