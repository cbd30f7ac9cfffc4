import { expect, it } from 'vitest';
import { EventBus } from '../../src/index.js';
import { recordingLogger } from '../support/playground.js';

interface Events {
  ping: number;
  error: unknown;
}

it('calls handlers in the order they were added, until they are taken away', () => {
  const bus = new EventBus<Events>();
  const heard: string[] = [];
  const first = (n: number) => void heard.push(`first ${n}`);
  bus.on('ping', first).on('ping', (n) => void heard.push(`second ${n}`));
  bus.emit('ping', 1);
  bus.off('ping', first);
  bus.emit('ping', 2);
  bus.removeAllListeners();
  bus.emit('ping', 3);
  expect(heard).toEqual(['first 1', 'second 1', 'second 2']);
});

it('calls a handler once however often it was added', () => {
  const bus = new EventBus<Events>();
  let calls = 0;
  const handler = () => void calls++;
  bus.on('ping', handler).on('ping', handler);
  bus.emit('ping', 1);
  expect(calls).toBe(1);
});

it('knows whether anybody listens', () => {
  const bus = new EventBus<Events>();
  const handler = () => {};
  expect(bus.has('ping')).toBe(false);
  bus.on('ping', handler);
  expect(bus.has('ping')).toBe(true);
  bus.off('ping', handler);
  expect(bus.has('ping')).toBe(false);
});

it('removes the listeners of one event only', () => {
  const bus = new EventBus<Events>();
  bus.on('ping', () => {}).on('error', () => {});
  bus.removeAllListeners('ping');
  expect([bus.has('ping'), bus.has('error')]).toEqual([false, true]);
});

it('makes an error event of what a handler throws, and calls the others', () => {
  const bus = new EventBus<Events>();
  const errors: unknown[] = [];
  let called = 0;
  bus.on('error', (error) => void errors.push(error));
  bus.on('ping', () => {
    throw new Error('on purpose');
  });
  bus.on('ping', () => void called++);
  bus.emit('ping', 1);
  expect(called).toBe(1);
  expect(errors).toEqual([new Error('on purpose')]);
});

it('makes an error event of what an asynchronous handler rejects with', async () => {
  const bus = new EventBus<Events>();
  const error = new Promise((resolve) => bus.on('error', resolve));
  bus.on('ping', async () => {
    throw new Error('later');
  });
  bus.emit('ping', 1);
  expect(await error).toEqual(new Error('later'));
});

it('gives the logger an error that nobody listens to', () => {
  const { logger, lines } = recordingLogger();
  const bus = new EventBus<Events>(logger);
  bus.on('ping', () => {
    throw new Error('unheard');
  });
  bus.emit('ping', 1);
  expect(lines).toMatchObject([{ level: 'error', args: [new Error('unheard')] }]);
});

it('gives the logger what an error handler throws or rejects with, and does not go round in circles', async () => {
  const { logger, lines } = recordingLogger();
  const bus = new EventBus<Events>(logger);
  bus.on('error', () => {
    throw new Error('thrown');
  });
  bus.on('error', async () => {
    throw new Error('rejected');
  });
  bus.emit('error', new Error('first'));
  await Promise.resolve();
  expect(lines.map(({ args }) => args[0])).toEqual([new Error('thrown'), new Error('rejected')]);
});

it('survives a logger that throws', () => {
  const broken = () => {
    throw new Error('the logger is broken');
  };
  const bus = new EventBus<Events>({ debug: broken, info: broken, warn: broken, error: broken });
  expect(() => bus.emit('error', new Error('unheard'))).not.toThrow();
});

it('refuses a handler that is no function', () => {
  expect(() => new EventBus().on('ping', undefined as never)).toThrow('on("ping") needs a function.');
});
