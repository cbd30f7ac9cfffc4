import type { JobData } from '../../model/job.js';

/** What of a job may hold a secret, and is shown. `redact` of the options gets it, and what it returns is shown. */
export type ShownJob = Pick<JobData, 'id' | 'name' | 'queueName' | 'data' | 'opts'> &
  Partial<Pick<JobData, 'returnvalue' | 'failedReason' | 'logs' | 'stacktrace' | 'attemptLogs'>>;

export type Redact = (job: ShownJob) => ShownJob;

export const HIDDEN = '[redacted]';

/** Words of a key, in lower case and without separators, whose value is hidden. */
const SECRETS = [
  ...[
    'password',
    'passwd',
    'passphrase',
    'pwd',
    'secret',
    'token',
    'authorization',
    'apikey',
    'accesskey',
    'privatekey',
  ],
  ...['credential', 'cookie', 'jwt', 'sessionid', 'creditcard', 'cardnumber', 'cvv', 'cvc', 'ssn', 'connectionstring'],
];
/** Short words that are part of others, such as of `pinned` and `author`: the whole key only. */
const WHOLE = ['pin', 'auth', 'otp', 'iban'];

/** Whether what stands under this key is hidden: `api_key`, `x-api-key`, `userPassword`, `accessToken`. */
export function isSecret(key: string): boolean {
  const word = key.toLowerCase().replace(/[^a-z0-9]/g, '');
  return WHOLE.includes(word) || SECRETS.some((secret) => word.includes(secret));
}

/** Deeper than any payload that a person reads. */
const MAX_DEPTH = 200;

/** A copy without the values of secret keys, at whatever depth, and without the secrets in its texts. */
export function redactValue(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value);
  if (value === null || typeof value !== 'object') return value;
  if (depth > MAX_DEPTH) return HIDDEN;
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1));
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    isSecret(key) && item !== null ? HIDDEN : redactValue(item, depth + 1),
  ]);
  return Object.fromEntries(entries);
}

/** `user:password@` of an address. */
const IN_URL = /\b([a-z][a-z0-9+.-]{0,20}:\/\/[^\s/:@"']{0,200}):[^\s/@"']{1,500}@/gi;
/** `Authorization: Bearer …`, and the scheme on its own. */
const SCHEME = /\b(Bearer|Basic)\s+[\w.~+/=-]{6,}/gi;
const JSON_WEB_TOKEN = /\beyJ[\w-]{8,4000}\.[\w-]{1,8000}\.[\w-]*/g;
/** `key=value`, `key: value`, `"key": "value"`. */
const PAIR = /(["']?)([A-Za-z][\w.-]{1,60})\1(\s*[=:]\s*)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;&}\])"']+)/g;

/** Longer texts are cut: nobody reads them on a page, and the patterns take their time. */
const MAX_TEXT = 20_000;

/** A line of a log, or a message, with what stands beside a secret key hidden. */
export function redactText(whole: string): string {
  const rest = whole.length - MAX_TEXT;
  const text = rest > 0 ? `${whole.slice(0, MAX_TEXT)}… (${rest} more characters)` : whole;
  return text
    .replace(IN_URL, `$1:${HIDDEN}@`)
    .replace(SCHEME, `$1 ${HIDDEN}`)
    .replace(JSON_WEB_TOKEN, HIDDEN)
    .replace(PAIR, (all, quote: string, key: string, between: string, value: string) => {
      if (!isSecret(key) || value.startsWith(HIDDEN.slice(0, -1))) return all;
      const mark = /^["']/.test(value) ? value[0]! : '';
      return `${quote}${key}${quote}${between}${mark}${HIDDEN}${mark}`;
    });
}

/** The job without what the default hides. */
function redactJob(job: ShownJob): ShownJob {
  const { failedReason, logs, stacktrace, attemptLogs } = job;
  const lines = (texts: readonly string[]) => texts.map((line) => redactText(String(line)));
  return {
    ...job,
    data: redactValue(job.data),
    opts: redactValue(job.opts) as ShownJob['opts'],
    ...('returnvalue' in job && { returnvalue: redactValue(job.returnvalue) }),
    ...(failedReason != null && { failedReason: redactText(failedReason) }),
    ...(logs && { logs: lines(logs) }),
    ...(stacktrace && { stacktrace: lines(stacktrace) }),
    ...(attemptLogs && {
      attemptLogs: attemptLogs.map((record) => ({
        ...record,
        error: record.error == null ? null : redactText(record.error),
        stacktrace: record.stacktrace == null ? null : redactText(record.stacktrace),
        logs: Array.isArray(record.logs) ? lines(record.logs) : [],
      })),
    }),
  };
}

/** The default, and behind it what the app's own function hides. */
export function redactor(own: Redact | undefined): Redact {
  return (job) => (own ? own(redactJob(job)) : redactJob(job));
}
