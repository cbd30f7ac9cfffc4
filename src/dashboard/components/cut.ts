/** What a page shows of texts that may be of any length: what is left out is said, and is in the job's JSON. */

/** The beginning. */
export function beginning(text: string, most: number): string {
  const rest = text.length - most;
  return rest > 0 ? `${text.slice(0, most)}… (${rest.toLocaleString('en')} more characters)` : text;
}

/** The newest lines. */
export function newest(lines: readonly string[], most: number): string {
  const shown: string[] = [];
  let size = 0;
  for (const line of [...lines].reverse()) {
    const text = beginning(line, most);
    size += text.length + 1;
    if (size > most && shown.length > 0) break;
    shown.unshift(text);
  }
  const rest = lines.length - shown.length;
  return [...(rest > 0 ? [`(${rest.toLocaleString('en')} earlier lines)`] : []), ...shown].join('\n');
}
