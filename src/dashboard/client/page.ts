/** What the page tells the script. */

export const base = (): string => document.body.dataset['base'] ?? '';

export const main = (): HTMLElement => document.querySelector('main') as HTMLElement;

/** How far the server's clock is ahead of this one, in ms. */
export const clockOffset = (): number => offset;

let offset = 0;
/** The clock that the page was made by, at the moment when it arrives. */
export function readClock(from: HTMLElement): void {
  const now = Number(from.dataset['now']);
  if (now > 0) offset = now - Date.now();
}

/** Tells a screen reader and the eye what was done. */
export function notice(text: string, kind: 'done' | 'failed' = 'done'): void {
  const box = document.getElementById('notice') as HTMLElement;
  box.textContent = text;
  box.dataset['kind'] = kind;
  box.hidden = false;
  clearTimeout(hide);
  hide = window.setTimeout(() => {
    box.hidden = true;
  }, 8_000);
}
let hide = 0;

/** What is wrong for as long as it is; null: nothing. */
export function banner(text: string | null): void {
  const box = document.getElementById('banner') as HTMLElement;
  if (box.textContent !== (text ?? '')) box.textContent = text ?? '';
  box.hidden = text === null;
}
