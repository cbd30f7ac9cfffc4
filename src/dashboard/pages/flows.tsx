import { FlowList } from '../components/flow-tree.js';
import { Page } from '../components/layout.js';
import { Empty, number, Panel, State, Time } from '../components/parts.js';
import type { View } from '../components/view.js';
import { type FlowJob, type FlowTree, MAX_NODES } from '../queries/flows.js';

export interface FlowsData {
  readonly flows: readonly FlowJob[];
  readonly next: string | null;
}

export function Flows({ view, data }: { view: View; data: FlowsData }) {
  const { flows, next } = data;
  return (
    <Page view={view} title="Flows" section="flows">
      <div class="head">
        <h1>Flows</h1>
      </div>
      <Panel title="Newest first" note="jobs with children that are nobody's child" keyed="flows">
        {flows.length === 0 ? (
          <Empty>There are no flows. FlowProducer adds them.</Empty>
        ) : (
          <FlowTable {...{ view, flows }} />
        )}
        {next ? (
          <div class="pager">
            <a class="button" rel="next" href={view.links.flows(next)}>
              Next page
            </a>
          </div>
        ) : null}
      </Panel>
    </Page>
  );
}

function FlowTable({ view, flows }: { view: View; flows: readonly FlowJob[] }) {
  return (
    <div class="scroll">
      <table class="cards">
        <thead>
          <tr>
            <th scope="col">Flow</th>
            <th scope="col">Queue</th>
            <th scope="col">State</th>
            <th scope="col" class="number">
              Children
            </th>
            <th scope="col" class="when">
              Added
            </th>
            <th scope="col" class="when">
              Ended
            </th>
          </tr>
        </thead>
        <tbody>
          {flows.map((job) => (
            <tr data-key={`${job.queueName} ${job.id}`}>
              <td class="name-cell">
                <a href={view.links.flow(job.queueName, job.id)}>{job.name}</a>
                <small>{job.id}</small>
              </td>
              <td data-label="Queue">
                <a href={view.links.queue(job.queueName)}>{job.queueName}</a>
              </td>
              <td data-label="State">
                <State state={job.state} />
              </td>
              <td class="number" data-label="Children">
                {job.pending > 0
                  ? `${number(job.children - job.pending)} of ${number(job.children)} ended`
                  : number(job.children)}
              </td>
              <td class="when" data-label="Added">
                <Time at={job.createdAt} view={view} />
              </td>
              <td class={`when${job.endedAt ? '' : ' none'}`} data-label="Ended">
                <Time at={job.endedAt} view={view} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** One flow, from its topmost job down. */
export function FlowPage({ view, tree, current }: { view: View; tree: FlowTree; current: string }) {
  const { root } = tree;
  return (
    <Page view={view} title={`Flow ${root.name}`} section="flows">
      <div class="head">
        <span class="crumb">
          <a href={view.links.flows()}>Flows</a>
        </span>
        <h1>{root.name}</h1>
        <State state={root.state} />
        <span class="quiet">{tree.size === 1 ? '1 job' : `${number(tree.size)} jobs`}</span>
      </div>
      <Panel title="Jobs" note={tree.isCut ? `the first ${MAX_NODES}` : undefined} keyed="tree">
        <div class="body">
          <FlowList view={view} tree={tree} current={current} />
        </div>
      </Panel>
    </Page>
  );
}
