const REPLACEMENT = '\ufffd';

/** Whether Postgres can hold the text: no U+0000, and every surrogate has its partner. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

/** Replaces what Postgres cannot hold (U+0000 and lone surrogates) by U+FFFD and keeps the rest. */
export function cleanText(text: string): string {
  return isStorable(text) ? text : text.toWellFormed().replaceAll('\0', REPLACEMENT);
}

/** The first `max` UTF-16 units, without leaving half a surrogate pair at the end, and marked with `…` when cut. */
export function cap(text: string, max: number): string {
  if (text.length <= max) return text;
  const head = text.slice(0, max - 1);
  const last = head.charCodeAt(head.length - 1);
  const endsInHalfAPair = last >= 0xd800 && last <= 0xdbff;
  return `${endsInHalfAPair ? head.slice(0, -1) : head}…`;
}

/** A value for an error message: short, quoted, on one line. Reads nothing of an object, so that it cannot throw. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(cap(value, 80));
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'bigint':
      return `${cap(String(value), 40)}n`;
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
    default:
      return `a ${typeof value}`;
  }
}

/** Whether the text takes more than `maxBytes` in UTF-8. A UTF-16 unit takes 1 to 3 bytes, which mostly decides it. */
export function exceedsBytes(text: string, maxBytes: number): boolean {
  if (text.length > maxBytes) return true;
  return text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes;
}
