import { relative } from '../components/relative.js';
import { clockOffset, main, readClock } from './page.js';
import { afterRefresh } from './refresh.js';

/** Keeps relative times right, and tells the exact one in the reader's own time zone on hover. */
export function startTimes(): void {
  readClock(main());
  update();
  afterRefresh(update);
  window.setInterval(update, 5_000);
}

const LOCAL = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });

function update(): void {
  const now = Date.now() + clockOffset();
  for (const element of document.querySelectorAll<HTMLTimeElement>('time[data-relative]')) {
    const at = new Date(element.dateTime);
    const text = relative(at.getTime(), now);
    if (element.textContent !== text) element.textContent = text;
    const title = `${LOCAL.format(at)}\n${element.dateTime}`;
    if (element.title !== title) element.title = title;
  }
}
