import { withoutParameters } from './payload/loggable.js';
import { show } from './text.js';
import { watched } from './watched.js';

/** Receives what no promise and no event reports. `console` fits, and so do pino and winston; methods may be async. */
export interface Logger {
  debug(msg: string, ...args: unknown[]): void;
  info(msg: string, ...args: unknown[]): void;
  warn(msg: string, ...args: unknown[]): void;
  error(msg: string, ...args: unknown[]): void;
}

/**
 * The same without its errors: a logger that throws or rejects must not fail what is logged about. It is given errors
 * of queries without their parameters.
 */
export function safely(logger: Logger): Logger {
  const at =
    (level: keyof Logger) =>
    (msg: string, ...args: unknown[]) =>
      watched(
        () => logger[level](msg, ...args.map(withoutParameters)),
        () => {},
      );
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** @throws TypeError for what cannot be logged to */
export function checkLogger(logger: unknown, option: string): Logger {
  const { debug, info, warn, error } = (logger ?? {}) as Partial<Logger>;
  if ([debug, info, warn, error].every((method) => typeof method === 'function')) return logger as Logger;
  throw new TypeError(`${option} is ${show(logger)}; it must have the methods debug, info, warn and error.`);
}

function silent(): void {}

/** Discards everything. */
export const noopLogger: Logger = { debug: silent, info: silent, warn: silent, error: silent };

/** Logs everything to the console, whose methods a test or a tool may replace at any time. */
export const consoleLogger: Logger = {
  debug: (msg, ...args) => console.debug(msg, ...args),
  info: (msg, ...args) => console.info(msg, ...args),
  warn: (msg, ...args) => console.warn(msg, ...args),
  error: (msg, ...args) => console.error(msg, ...args),
};

/** The default: warnings and errors to the console, nothing else. */
export const defaultLogger: Logger = {
  debug: silent,
  info: silent,
  warn: consoleLogger.warn,
  error: consoleLogger.error,
};
