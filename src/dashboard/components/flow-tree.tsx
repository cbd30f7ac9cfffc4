import { type FlowJob, type FlowTree, keyOf } from '../queries/flows.js';
import { State, Time } from './parts.js';
import type { View } from './view.js';

/** A flow as nested lists, which a screen reader can walk through as well: each job with its state. */
export function FlowList({ view, tree, current }: { view: View; tree: FlowTree; current: string | null }) {
  return (
    <ul class="tree">
      <Node view={view} tree={tree} job={tree.root} current={current} />
    </ul>
  );
}

function Node({ view, tree, job, current }: { view: View; tree: FlowTree; job: FlowJob; current: string | null }) {
  const key = keyOf(job.queueName, job.id);
  const children = tree.childrenOf.get(key) ?? [];
  return (
    <li data-key={key}>
      <div class="node" aria-current={key === current ? 'true' : undefined}>
        <a href={view.links.job(job.queueName, job.id)}>{job.name}</a>
        <State state={job.state} />
        {job.state === 'active' && job.progress > 0 ? (
          <progress value={job.progress} max="100" aria-label={`Progress of ${job.name}`} />
        ) : null}
        <span class="quiet">
          {job.queueName} · {job.id}
          {job.endedAt ? (
            <>
              {' · '}
              <Time at={job.endedAt} view={view} />
            </>
          ) : null}
        </span>
      </div>
      {children.length > 0 ? (
        <ul>
          {children.map((child) => (
            <Node view={view} tree={tree} job={child} current={current} />
          ))}
        </ul>
      ) : null}
    </li>
  );
}
