import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const src = fileURLToPath(new URL('../../src', import.meta.url));

/** Plain errors that nobody outside of the file named sees: why, by the start of their message. */
const INTERNAL: Record<string, string> = {
  'wrong fields': 'caught in the same function, which throws a RangeError that names the expression',
  superseded: 'ends a connection attempt of the listener that a newer one has replaced',
  'no answer to the heartbeat': 'makes the listener reconnect',
  'a lost connection was not made anew': 'becomes the cause of a ConnectionError',
  'no answer within': 'becomes the cause of a ConnectionError',
};

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

it('every error that a caller can see has a code', () => {
  const plain = files.flatMap((file) =>
    [...readFileSync(join(src, file), 'utf8').matchAll(/new Error\((?:\s*['"`]([^$'"`]*))?/g)].map(
      ([text, message]) => ({
        file,
        text,
        message,
      }),
    ),
  );
  const unknown = plain.filter(
    ({ message }) => message === undefined || !Object.keys(INTERNAL).some((start) => message.startsWith(start)),
  );
  expect(unknown).toEqual([]);
});

it('no class of errors that a caller can see extends Error itself', () => {
  const classes = files.flatMap((file) =>
    [...readFileSync(join(src, file), 'utf8').matchAll(/class (\w+) extends Error\b/g)].map(([, name]) => name),
  );
  // TooLarge ends the walk over a result in model/payload, where it is caught.
  expect(classes.sort()).toEqual(['ConveyorError', 'TooLarge']);
});

it('every ConveyorError that is thrown with a message of its own has a code of its own', () => {
  const without = files.flatMap((file) => {
    const text = readFileSync(join(src, file), 'utf8');
    return [...text.matchAll(/new ConveyorError\(/g)]
      .map(({ index }) => text.slice(index, index + 400))
      .filter((call) => !/code\b/.test(call))
      .map((call) => `${file}: ${call.split('\n')[0]}`);
  });
  expect(without).toEqual([]);
});
