import { morph } from './morph.js';
import { banner, main, readClock } from './page.js';

const callbacks: (() => void)[] = [];
/** Calls back whenever the page shows something newer. */
export const afterRefresh = (callback: () => void): void => void callbacks.push(callback);

const TIMEOUT = 15_000;
let running: Promise<boolean> | undefined;
let again = false;

/** Reads the page anew and shows what has changed. True when that went well. */
export function refresh(): Promise<boolean> {
  if (running) {
    again = true;
    return running;
  }
  running = load().finally(() => {
    running = undefined;
    if (again) {
      again = false;
      void refresh();
    }
  });
  return running;
}

async function load(): Promise<boolean> {
  try {
    const headers = { accept: 'text/html' };
    const response = await fetch(location.href, { headers, signal: AbortSignal.timeout(TIMEOUT) });
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('main');
    if (!fresh) {
      banner(`The dashboard cannot be read: the server answered with ${response.status}. Trying again…`);
      return false;
    }
    if (fresh.dataset['error'] === undefined || main().dataset['error'] !== undefined) show(fresh);
    banner(fresh.dataset['error'] === undefined ? null : `${fresh.dataset['error']} Trying again…`);
    return fresh.dataset['error'] === undefined;
  } catch (error) {
    banner(`The dashboard cannot be reached: ${(error as Error).message} Trying again…`);
    return false;
  }
}

function show(fresh: HTMLElement): void {
  readClock(fresh);
  morph(main(), document.importNode(fresh, true));
  for (const callback of callbacks) callback();
}
