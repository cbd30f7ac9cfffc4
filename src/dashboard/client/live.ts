import { base, main } from './page.js';
import { refresh } from './refresh.js';

/** Between two refreshes at least, in ms, and at least three times what the last one took. */
const PAUSE = 1_000;
/** Without events, or where they cannot tell all: how often the page is read anew. */
const POLL = 5_000;
/** While events arrive: for what they do not tell of. */
const SLOW_POLL = 15_000;
/** Until the stream is tried again, after the server has refused it. */
const RETRY = 10_000;

type Mode = 'live' | 'polling' | 'offline';

let source: EventSource | undefined;
let events = false;
let timer = 0;
let due = Number.POSITIVE_INFINITY;
let earliest = 0;

/** Keeps the page up to date: by the stream of events, and by polling where there is none. */
export function startLive(): void {
  schedule(interval());
  open();
  document.addEventListener('visibilitychange', () => {
    // A hidden page needs no connection, of which a browser has but six for each host.
    if (document.hidden) close();
    else {
      open();
      schedule(0);
    }
  });
  window.addEventListener('pagehide', close);
}

/** `data-poll`: what the page itself asks for, in ms, such as for logs, which no event tells. */
const interval = (): number => Number(main().dataset['poll']) || (events ? SLOW_POLL : POLL);

function schedule(inMs: number): void {
  const at = Math.max(performance.now() + inMs, earliest);
  if (at >= due) return;
  due = at;
  clearTimeout(timer);
  timer = window.setTimeout(run, at - performance.now());
}

async function run(): Promise<void> {
  due = Number.POSITIVE_INFINITY;
  if (document.hidden || document.querySelector('dialog[open]')) {
    schedule(POLL);
    return;
  }
  const began = performance.now();
  const ok = await refresh();
  const took = performance.now() - began;
  // A failure takes as long as the server tries for, which says nothing about what the page costs.
  earliest = performance.now() + (ok ? Math.max(PAUSE, 3 * took) : PAUSE);
  show(ok ? (events ? 'live' : 'polling') : 'offline');
  schedule(ok ? interval() : 2_000);
}

function open(): void {
  if (source || document.hidden) return;
  const stream = new EventSource(`${base()}/events`);
  source = stream;
  stream.addEventListener('hello', (message) => {
    events = (JSON.parse(message.data) as { listens: boolean }).listens;
    show(events ? 'live' : 'polling');
    // What happened before the stream began.
    schedule(0);
  });
  stream.addEventListener('change', (message) => {
    const { queues } = JSON.parse(message.data) as { queues: string[] };
    if (concerns(queues)) schedule(0);
  });
  stream.addEventListener('error', () => {
    events = false;
    schedule(POLL);
    if (stream.readyState !== EventSource.CLOSED) return;
    close();
    window.setTimeout(open, RETRY);
  });
}

function close(): void {
  source?.close();
  source = undefined;
  events = false;
}

/** Whether events of these queues change what the page shows. */
function concerns(queues: string[]): boolean {
  const own = main().dataset['queue'];
  return own === undefined || queues.includes(own);
}

const WORDS: Record<Mode, string> = { live: 'Live', polling: 'Polling', offline: 'Offline' };

function show(mode: Mode): void {
  const indicator = document.getElementById('live') as HTMLElement;
  if (indicator.dataset['mode'] === mode) return;
  indicator.dataset['mode'] = mode;
  indicator.textContent = WORDS[mode];
}
