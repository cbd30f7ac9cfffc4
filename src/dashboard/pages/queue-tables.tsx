import { Empty, number, Panel, Time } from '../components/parts.js';
import type { View } from '../components/view.js';
import { GROUP_COUNT_CAP, type GroupUse } from '../queries/groups.js';
import type { WorkerLeases } from '../queries/queue.js';

/** Who holds leases: there is no register of workers, so that an idle one is not seen. */
export function Workers({ view, workers }: { view: View; workers: readonly WorkerLeases[] }) {
  return (
    <Panel title="Workers" note="those that hold a lease now" keyed="workers">
      {workers.length === 0 ? (
        <Empty>No worker holds a job of this queue.</Empty>
      ) : (
        <div class="scroll">
          <table class="cards">
            <thead>
              <tr>
                <th scope="col">Worker</th>
                <th scope="col" class="number">
                  Jobs
                </th>
                <th scope="col" class="when">
                  Longest since
                </th>
                <th scope="col" class="when">
                  Lease ends
                </th>
              </tr>
            </thead>
            <tbody>
              {workers.map((worker) => (
                <tr data-key={worker.id}>
                  <td class="name-cell mono">{worker.id}</td>
                  <td class="number" data-label="Jobs">
                    {number(worker.leases)}
                    {worker.expired > 0 ? <span class="ink-failed"> {number(worker.expired)} stalled</span> : null}
                  </td>
                  <td class="when" data-label="Longest since">
                    <Time at={worker.oldest} view={view} />
                  </td>
                  <td class="when" data-label="Lease ends">
                    <Time at={worker.until} view={view} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

export function Groups({ view, groups }: { view: View; groups: readonly GroupUse[] }) {
  if (groups.length === 0) return null;
  return (
    <Panel title="Groups" note="with waiting or active jobs, the first 50 by name" keyed="groups">
      <div class="scroll">
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">Group</th>
              <th scope="col" class="number">
                Waiting
              </th>
              <th scope="col" class="number">
                Active
              </th>
              <th scope="col" class="when">
                Last served
              </th>
            </tr>
          </thead>
          <tbody>
            {groups.map((group) => (
              <tr data-key={group.id}>
                <td class="name-cell">{group.id}</td>
                <td class="number" data-label="Waiting">
                  {group.waiting > GROUP_COUNT_CAP ? `${number(GROUP_COUNT_CAP)}+` : number(group.waiting)}
                </td>
                <td class="number" data-label="Active">
                  {number(group.active)}
                </td>
                <td class="when" data-label="Last served">
                  <Time at={group.lastServedAt} view={view} none="never" />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
