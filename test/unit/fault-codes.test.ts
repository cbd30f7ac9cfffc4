import { describe, expect, it } from 'vitest';
import { condemningCode, faultOf, isRefusal } from '../../src/db/errors.js';

const coded = (code: string) => Object.assign(new Error('from the driver'), { code });

describe('what a code says', () => {
  it.each([
    ['22P02', 'refused', true, false],
    ['23503', 'refused', true, false],
    ['25006', 'rolled back', false, true],
    ['40001', 'rolled back', false, false],
    ['53100', 'refused', false, false],
    ['53300', 'rolled back', false, false],
    ['55P03', 'refused', false, false],
    ['57014', 'refused', false, false],
    ['57P01', 'unknown', false, true],
    ['57P02', 'unknown', false, true],
    ['57P03', 'rolled back', false, true],
    ['58030', 'refused', false, false],
    ['08006', 'unknown', false, true],
    ['08P01', 'unknown', false, true],
    ['CONNECTION_CLOSED', 'unknown', false, false],
    ['ECONNREFUSED', 'rolled back', false, false],
  ])('%s', (code, fault, refusal, condemns) => {
    const error = new Error('of the app', { cause: coded(code) });
    expect({ fault: faultOf(error), refusal: isRefusal(error), condemns: condemningCode(error) === code }).toEqual({
      fault,
      refusal,
      condemns,
    });
  });
});
