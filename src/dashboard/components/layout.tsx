import type { Child } from 'hono/jsx';
import type { View } from './view.js';

export interface PageProps {
  readonly view: View;
  readonly title: string;
  readonly section: 'overview' | 'jobs' | 'schedules' | 'flows' | null;
  /** The queue that the page is about: events of others do not concern it. */
  readonly queue?: string | undefined;
  /** Read anew so often, in ms: for what no event tells. */
  readonly poll?: number | undefined;
  /** It has a chart, or may come to have one. */
  readonly charts?: boolean | undefined;
  /** The page could not be made, and this is why. */
  readonly error?: string | undefined;
  readonly children?: Child;
}

const SECTIONS = ['overview', 'jobs', 'schedules', 'flows'] as const;

export function Page({ view, title, section, queue, poll, charts, error, children }: PageProps) {
  const { links, writable, now } = view;
  const addresses = {
    overview: links.overview(),
    jobs: `${links.base}/jobs`,
    schedules: links.schedules(),
    flows: links.flows(),
  };
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{`${title} · Conveyor`}</title>
        <link rel="icon" href={links.asset('icon.svg')} type="image/svg+xml" />
        <link rel="stylesheet" href={links.asset('dashboard.css')} />
        {charts ? <script src={links.asset('uplot.js')} defer></script> : null}
        <script src={links.asset('dashboard.js')} defer></script>
      </head>
      <body data-base={links.base}>
        <a class="skip" href="#main">
          Skip to the content
        </a>
        <header class="top">
          <a class="brand" href={addresses.overview}>
            Conveyor
          </a>
          <nav class="sections" aria-label="Sections">
            {SECTIONS.map((name) => (
              <a href={addresses[name]} aria-current={name === section ? 'page' : undefined}>
                {name[0]!.toUpperCase() + name.slice(1)}
              </a>
            ))}
          </nav>
          <div class="aside">
            {writable ? null : <span class="tag">Read-only</span>}
            <span id="live" role="status" data-mode="polling">
              Connecting
            </span>
            <search class="find">
              <form action={links.find()}>
                <input type="search" name="id" placeholder="Job id  ( / )" aria-label="Find a job by its id" required />
              </form>
            </search>
            <button type="button" id="theme" hidden>
              Theme
            </button>
          </div>
        </header>
        <div id="banner" role="alert" hidden></div>
        <main id="main" tabindex={-1} data-now={String(now)} data-queue={queue} data-poll={poll} data-error={error}>
          {children}
        </main>
        <div id="notice" role="status" hidden></div>
        <dialog id="confirm" aria-labelledby="question">
          <p id="question"></p>
          <form method="dialog">
            <button type="submit" value="no" autofocus>
              Keep as it is
            </button>
            <button type="submit" value="yes" class="danger">
              Yes
            </button>
          </form>
        </dialog>
      </body>
    </html>
  );
}
