import { Page } from '../components/layout.js';
import { Panel } from '../components/parts.js';
import type { View } from '../components/view.js';

export interface Problem {
  readonly status: 400 | 404 | 500 | 503;
  readonly title: string;
  readonly message: string;
  readonly code?: string | undefined;
}

/** In place of a page. The script reads it anew until there is the page, where that may help. */
export function ProblemPage({ view, problem }: { view: View; problem: Problem }) {
  const { status, title, message, code } = problem;
  const mayPass = status >= 500;
  return (
    <Page view={view} title={title} section={null} charts error={mayPass ? message : undefined}>
      <div class="head">
        <h1>{title}</h1>
        {code ? <span class="tag bad">{code}</span> : null}
      </div>
      <Panel title={mayPass ? 'What the database says' : 'What is wrong'}>
        <div class="body">
          <p class="reason">{message}</p>
          {mayPass ? (
            <p class="quiet">The page is read again every few seconds, and is back as soon as that works.</p>
          ) : null}
          <p>
            <a href={view.links.overview()}>Overview</a>
          </p>
        </div>
      </Panel>
    </Page>
  );
}
