import type { View } from '../components/view.js';
import { fieldsOf, type JobFilter } from '../queries/job-filter.js';

/** A time as `datetime-local` takes it, in UTC. */
const local = (ms: number | undefined): string => (ms === undefined ? '' : new Date(ms).toISOString().slice(0, 16));

/** A plain form: it works without a script, and its address can be kept. */
export function FilterBar({ view, filter, names }: { view: View; filter: JobFilter; names: readonly string[] }) {
  const { queue, state, name, text, value, since, until } = filter;
  const queues = names.includes(queue) ? names : [queue, ...names];
  const isOpen = filter.path !== undefined || since !== undefined || until !== undefined;
  return (
    <form class="filters" action={`${view.links.base}/jobs`} aria-label="Filter" data-keep="">
      <label>
        Queue
        <select name="queue">
          {queues.map((each) => (
            <option value={each} selected={each === queue}>
              {each}
            </option>
          ))}
        </select>
      </label>
      {state ? <input type="hidden" name="state" value={state} /> : null}
      <label>
        Name contains
        <input name="name" value={name ?? ''} maxlength={255} />
      </label>
      <label>
        Text in the data
        <input name="text" value={text ?? ''} maxlength={500} />
      </label>
      <div class="go">
        <button type="submit" class="primary">
          Filter
        </button>
        <a href={view.links.jobs({ queue, state })}>Clear</a>
      </div>
      <details open={isOpen}>
        <summary>More filters: value at a path, time</summary>
        <div class="more">
          <label>
            Path in the data
            <input name="path" value={fieldsOf(filter)['path'] ?? ''} placeholder="user.id" maxlength={500} />
          </label>
          <label>
            Value at the path
            <input name="value" value={value ?? ''} placeholder="any" maxlength={500} />
          </label>
          <label>
            From (UTC)
            <input type="datetime-local" name="since" value={local(since)} />
          </label>
          <label>
            To (UTC)
            <input type="datetime-local" name="until" value={local(until)} />
          </label>
        </div>
      </details>
    </form>
  );
}
