const THEMES = ['auto', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];
const KEY = 'conveyor-theme';

/** The button that goes through automatic, light and dark. */
export function startTheme(onChange: () => void): void {
  const button = document.getElementById('theme') as HTMLButtonElement;
  const apply = (theme: Theme) => {
    if (theme === 'auto') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
    button.textContent = `Theme: ${theme}`;
  };
  apply(stored());
  button.hidden = false;
  button.addEventListener('click', () => {
    const next = THEMES[(THEMES.indexOf(stored()) + 1) % THEMES.length] as Theme;
    store(next);
    apply(next);
    onChange();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', onChange);
}

let memory: string | null = null;

function stored(): Theme {
  try {
    memory = localStorage.getItem(KEY);
  } catch {
    // A browser may forbid storage: then the choice lasts as long as the page.
  }
  return THEMES.find((theme) => theme === memory) ?? 'auto';
}

function store(theme: Theme): void {
  memory = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // As above.
  }
}
