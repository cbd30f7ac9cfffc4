/** Whether a write comes from a page of this dashboard, and not from another site in the same browser. */

/** Why a request is refused; null: it comes from the same origin. */
export function foreignWrite(request: Request): string | null {
  const type = request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase();
  // A form of another site cannot send this type, and its scripts not without a preflight, which nothing answers.
  if (type !== 'application/json') return 'A write must have the content type application/json.';
  const site = request.headers.get('sec-fetch-site');
  if (site !== null && site !== 'same-origin') return 'A write must come from the same origin.';
  const origin = request.headers.get('origin');
  if (origin !== null) {
    const host = hostOf(origin);
    const isOwn = host !== undefined && hostsOf(request).includes(host);
    return isOwn ? null : 'The origin of a write must be that of the dashboard.';
  }
  return site === 'same-origin' ? null : 'A write must have an Origin or a Sec-Fetch-Site.';
}

/** Under which hosts a browser may have reached the dashboard: a proxy tells the one that it was asked for. */
function hostsOf(request: Request): (string | undefined)[] {
  const forwarded = request.headers.get('x-forwarded-host')?.split(',')[0]?.trim();
  return [new URL(request.url).host, request.headers.get('host') ?? undefined, forwarded].map((host) =>
    host?.toLowerCase(),
  );
}

function hostOf(origin: string): string | undefined {
  // Empty for what has no host, such as `data:`.
  return URL.canParse(origin) ? new URL(origin).host || undefined : undefined;
}
