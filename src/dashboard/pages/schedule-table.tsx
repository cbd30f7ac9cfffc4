import type { StoredSchedule } from '../../model/schedule/stored-schedule.js';
import { number, Time } from '../components/parts.js';
import { duration } from '../components/relative.js';
import type { View } from '../components/view.js';
import { ticksOf } from '../queries/schedules.js';

const NEXT_TICKS = 3;

export function ScheduleTable(props: { view: View; schedules: readonly StoredSchedule[]; withQueue: boolean }) {
  const { view, schedules, withQueue } = props;
  return (
    <div class="scroll">
      <table class="cards">
        <thead>
          <tr>
            <th scope="col">Job</th>
            {withQueue ? <th scope="col">Queue</th> : null}
            <th scope="col">Repeats</th>
            <th scope="col">Next ticks</th>
            <th scope="col">Overlap</th>
            <th scope="col" class="number">
              Runs left
            </th>
          </tr>
        </thead>
        <tbody>
          {schedules.map((schedule) => (
            <tr data-key={`${schedule.queueName} ${schedule.key}`}>
              <td class="name-cell">
                {schedule.jobName}
                <small>{schedule.key}</small>
              </td>
              {withQueue ? (
                <td data-label="Queue">
                  <a href={view.links.queue(schedule.queueName)}>{schedule.queueName}</a>
                </td>
              ) : null}
              <td data-label="Repeats">
                <Rule schedule={schedule} />
              </td>
              <td data-label="Next ticks">
                <Ticks view={view} schedule={schedule} />
              </td>
              <td data-label="Overlap">{schedule.overlap}</td>
              <td class="number" data-label="Runs left">
                {schedule.runsLeft === null ? <span class="quiet">no limit</span> : number(schedule.runsLeft)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Rule({ schedule }: { schedule: StoredSchedule }) {
  const { cron, everyMs, tz } = schedule;
  if (cron === null) return <>every {duration(everyMs ?? 0)}</>;
  return (
    <span>
      <code>{cron}</code> <span class="quiet">{tz ?? 'UTC'}</span>
    </span>
  );
}

function Ticks({ view, schedule }: { view: View; schedule: StoredSchedule }) {
  const ticks = ticksOf(schedule, NEXT_TICKS);
  if (ticks.length === 0) return <span class="quiet">has ended</span>;
  return (
    <span>
      {ticks.map((at, i) => (
        <>
          {i > 0 ? ', ' : ''}
          <Time at={at} view={view} />
        </>
      ))}
    </span>
  );
}
