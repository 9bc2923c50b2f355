/** For which API a client asks a token: `scope=<audience>/.default` or `resource=<audience>`. */
import { isOwnAudience, withoutSlashes } from '../frame/authenticate.ts';

/** @returns undefined if it is another API's than ours. */
export function audienceOf(
  asked: { readonly scope?: string | undefined; readonly resource?: string | undefined },
  baseUrl: string,
): string | undefined {
  const scopes = (asked.scope ?? '').split(' ').filter((scope) => scope.endsWith('/.default'));
  const [scope] = scopes.map((one) => one.slice(0, -'/.default'.length));
  const audience = withoutSlashes(asked.resource ?? scope ?? baseUrl);
  return isOwnAudience(audience, baseUrl) ? audience : undefined;
}
