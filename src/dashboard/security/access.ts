import type { Logger } from '../../model/logger.js';

/** What a request wants to do. */
export type Access = 'read' | 'write';

/**
 * Whether a request is answered: asked for every page, stream and verb. A `Response`, such as a redirect to a login, is
 * sent instead of a refusal.
 */
export type Authorize = (request: Request, access: Access) => boolean | Response | Promise<boolean | Response>;

/** The hook's consent, or the response that refuses. A hook that throws does not consent. */
export async function consentTo(
  authorize: Authorize | undefined,
  request: Request,
  access: Access,
  logger: Logger,
): Promise<true | Response> {
  if (!authorize) return access === 'read' ? true : refused();
  try {
    const answer = await authorize(request, access);
    if (answer instanceof Response) return answer;
    return answer === true ? true : refused();
  } catch (error) {
    logger.error('conveyor dashboard: authorize threw', error);
    return refused();
  }
}

const refused = (): Response => new Response('Not allowed.', { status: 403 });
