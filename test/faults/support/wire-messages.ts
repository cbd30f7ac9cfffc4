/** A message of Postgres's protocol 3, whole: its type, its length, its contents. */
export interface Message {
  readonly type: string;
  readonly bytes: Buffer;
}

/** The whole messages at the beginning of `data`, and what is left of the next. */
export function splitMessages(data: Buffer): { messages: Message[]; rest: Buffer } {
  const messages: Message[] = [];
  let at = 0;
  while (data.length - at >= 5) {
    const end = at + 1 + data.readUInt32BE(at + 1);
    if (end > data.length) break;
    messages.push({ type: String.fromCharCode(data[at]!), bytes: data.subarray(at, end) });
    at = end;
  }
  return { messages, rest: data.subarray(at) };
}

function strings({ bytes }: Message): string[] {
  const [first = '', second = ''] = bytes.toString('latin1', 5, Math.min(bytes.length, 2_000)).split('\0');
  return [first, second];
}

/** Of Parse and Bind: which prepared statement. */
export const statementName = (message: Message): string => strings(message)[message.type === 'P' ? 0 : 1]!;

/** Of Parse and Query: the name in the comment that a statement begins with, else its text. */
export function textOf(message: Message): string {
  const text = strings(message)[message.type === 'P' ? 1 : 0]!;
  return /^\/\* conveyor: (.+?) \*\//.exec(text)?.[1] ?? text;
}

const FATAL = new Set(['57P01', '57P02', '57P03', '53300']);

/** The server ends the connection with it. */
export const isFatal = (sqlState: string): boolean => FATAL.has(sqlState);

export function errorResponse(sqlState: string): Buffer {
  const severity = isFatal(sqlState) ? 'FATAL' : 'ERROR';
  const fields = `S${severity}\0V${severity}\0C${sqlState}\0Mon the drill's orders\0\0`;
  const bytes = Buffer.alloc(5 + fields.length);
  bytes.write('E', 0, 'latin1');
  bytes.writeUInt32BE(4 + fields.length, 1);
  bytes.write(fields, 5, 'latin1');
  return bytes;
}
