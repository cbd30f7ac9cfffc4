import { beginning } from './cut.js';
import { Empty, Panel } from './parts.js';

/** Longer ones are cut: a page stays small whatever a payload holds. */
const MAX_CHARACTERS = 6_000;

/** A value as indented JSON. */
export function Json({ title, value, keyed }: { title: string; value: unknown; keyed: string }) {
  if (value === null || value === undefined) return null;
  const text = JSON.stringify(value, null, 2) ?? '';
  return (
    <Panel title={title} keyed={keyed}>
      {text === '{}' || text === '[]' ? (
        <Empty>Empty</Empty>
      ) : (
        <div class="body">
          <pre tabindex={0}>{beginning(text, MAX_CHARACTERS)}</pre>
        </div>
      )}
    </Panel>
  );
}
