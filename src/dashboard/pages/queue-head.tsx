import { Verb } from '../components/parts.js';
import type { View } from '../components/view.js';

/** The title of a queue's pages, and what can be done to the queue. */
export function QueueHead(props: { view: View; queue: string; paused: boolean; tab: 'queue' | 'jobs' }) {
  const { view, queue, paused, tab } = props;
  return (
    <div class="head">
      <h1>{queue}</h1>
      {paused ? <span class="tag warn">Paused</span> : null}
      <nav class="tabs" aria-label="Pages of the queue">
        <a href={view.links.queue(queue)} aria-current={tab === 'queue' ? 'page' : undefined}>
          Queue
        </a>
        <a href={view.links.jobs({ queue })} aria-current={tab === 'jobs' ? 'page' : undefined}>
          Jobs
        </a>
      </nav>
      <div class="actions">
        {paused ? (
          <Verb view={view} to="queue" body={{ verb: 'resume', queue }} kind="primary">
            Resume
          </Verb>
        ) : (
          <Verb view={view} to="queue" body={{ verb: 'pause', queue }}>
            Pause
          </Verb>
        )}
      </div>
    </div>
  );
}
