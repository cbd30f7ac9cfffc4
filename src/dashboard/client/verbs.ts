import { base, notice } from './page.js';
import { refresh } from './refresh.js';

/** What a verb did, as the server answers. */
interface Answer {
  message?: string;
  error?: string;
}

/** Buttons with `data-verb`: their other data is what the verb is applied to. */
export function startVerbs(): void {
  document.addEventListener('click', (event) => {
    const button = (event.target as Element).closest<HTMLButtonElement>('button[data-verb]');
    if (button) void runVerb(button, JSON.parse(button.dataset['body'] ?? '{}') as object);
  });
}

/** Confirms where the button says so, sends, tells what came of it, and shows it. */
export async function runVerb(button: HTMLButtonElement, body: object): Promise<boolean> {
  const question = button.dataset['confirm'];
  if (question && !(await confirmed(question, button.textContent ?? ''))) return false;
  button.disabled = true;
  try {
    const answer = await send(button.dataset['verb'] as string, body);
    notice(answer.error ?? answer.message ?? 'Done.', answer.error === undefined ? 'done' : 'failed');
    return answer.error === undefined;
  } finally {
    button.disabled = false;
    await refresh();
  }
}

async function send(verb: string, body: object): Promise<Answer> {
  try {
    const response = await fetch(`${base()}/api/${verb}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json');
    return isJson ? (JSON.parse(text) as Answer) : { error: `${response.status}: ${text.slice(0, 200)}` };
  } catch (error) {
    return { error: `The dashboard cannot be reached: ${(error as Error).message}` };
  }
}

function confirmed(question: string, action: string): Promise<boolean> {
  const dialog = document.getElementById('confirm') as HTMLDialogElement;
  (dialog.querySelector('p') as HTMLElement).textContent = question;
  (dialog.querySelector('button[value=yes]') as HTMLElement).textContent = action;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
