import { afterRefresh } from './refresh.js';
import { runVerb } from './verbs.js';

/** The list of jobs: which are selected, and the verbs for them. */
export function startSelection(): void {
  document.addEventListener('change', ({ target }) => {
    if (!(target instanceof HTMLInputElement)) return;
    if (target.matches('[data-select=page]')) for (const box of boxes()) box.checked = target.checked;
    if (target.matches('[data-select]')) update();
  });
  document.addEventListener('click', (event) => {
    const button = (event.target as Element).closest<HTMLButtonElement>('button[data-bulk]');
    if (button) void run(button);
  });
  afterRefresh(update);
  update();
}

const boxes = () => [...document.querySelectorAll<HTMLInputElement>('input[data-select=job]')];
const all = () => document.querySelector<HTMLInputElement>('input[data-select=all]');
const bar = () => document.querySelector<HTMLElement>('[data-filter]');

function update(): void {
  const toolbar = bar();
  if (!toolbar) return;
  const everything = all()?.checked ?? false;
  const chosen = boxes().filter((box) => box.checked).length;
  const page = document.querySelector<HTMLInputElement>('input[data-select=page]');
  if (page) {
    page.checked = chosen > 0 && chosen === boxes().length;
    page.indeterminate = chosen > 0 && chosen < boxes().length;
  }
  const count = toolbar.querySelector<HTMLElement>('[data-count]');
  if (count) count.textContent = everything ? 'All that match' : `${chosen} selected`;
  for (const button of toolbar.querySelectorAll<HTMLButtonElement>('button[data-bulk]')) {
    button.disabled = !everything && chosen === 0;
  }
}

async function run(button: HTMLButtonElement): Promise<void> {
  const filter = JSON.parse(bar()?.dataset['filter'] ?? '{}') as { queue: string };
  const everything = all()?.checked ?? false;
  const chosen = boxes().filter((box) => box.checked);
  button.dataset['verb'] = 'jobs';
  const what = everything ? 'all jobs that match the filter' : chosen.length === 1 ? '1 job' : `${chosen.length} jobs`;
  button.dataset['confirm'] = `${button.textContent} ${what} of queue ${filter.queue}?`;
  const verb = button.dataset['bulk'];
  const body = everything ? { verb, filter } : { verb, queue: filter.queue, ids: chosen.map(({ value }) => value) };
  if (!(await runVerb(button, body))) return;
  for (const box of [...boxes(), ...(all() ? [all() as HTMLInputElement] : [])]) box.checked = false;
  update();
}
