import { Empty, Panel } from './parts.js';

/** Longer ones are cut: a page stays small whatever a payload holds. */
const MAX_CHARACTERS = 12_000;

/** A value as indented JSON. */
export function Json({ title, value, keyed }: { title: string; value: unknown; keyed: string }) {
  if (value === null || value === undefined) return null;
  const text = JSON.stringify(value, null, 2) ?? '';
  const rest = text.length - MAX_CHARACTERS;
  return (
    <Panel
      title={title}
      keyed={keyed}
      note={rest > 0 ? `${rest.toLocaleString('en')} more characters are not shown` : undefined}
    >
      {text === '{}' || text === '[]' ? (
        <Empty>Empty</Empty>
      ) : (
        <div class="body">
          <pre tabindex={0}>{rest > 0 ? `${text.slice(0, MAX_CHARACTERS)}…` : text}</pre>
        </div>
      )}
    </Panel>
  );
}
