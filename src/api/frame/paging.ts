/**
 * Lists: `{"value": […], "nextLink": "https://…"}`. `$top` bounds a page; `$skipToken` names the entry that the page
 * before ended with, so that entries which come or go shift nothing.
 */
import { ok, type ApiAnswer, type ApiRequest } from './route.ts';
import { Refusal } from './refusal.ts';

const MOST_PER_PAGE = 1000;
const TOKEN_VERSION = 1;

type ListRequest = Pick<ApiRequest<unknown, unknown>, 'query' | 'baseUrl' | 'path' | 'apiVersion'>;

/**
 * @param entries all of the list, in its order; each with an `id` that only it has.
 * @throws {Refusal} `InvalidQueryParameter`, `InvalidSkipToken`
 */
export function listAnswer<Entry extends { readonly id: string }>(
  request: ListRequest,
  entries: readonly Entry[],
): ApiAnswer {
  const { query } = request;
  const count = parseTop(query.get('$top'));
  const start = startOf(query.get('$skipToken'), entries);
  const value = entries.slice(start, start + count);
  const end = start + value.length;
  if (end >= entries.length) return ok({ value });
  return ok({ value, nextLink: nextLink(request, { end, lastId: value.at(-1)?.id }) });
}

/**
 * Of a list that is too long to be read whole.
 *
 * @returns how many entries of it are asked for, and the `id` of the one that the page before ended with.
 * @throws {Refusal} as `listAnswer`.
 */
export function pageOf(query: ListRequest['query']): {
  readonly count: number;
  readonly lastId: string | undefined;
} {
  const token = query.get('$skipToken');
  const lastId = token === undefined ? undefined : readToken(token)[1];
  return { count: parseTop(query.get('$top')), lastId };
}

/** @param value the entries that `pageOf` asks for. */
export function pageAnswer(
  request: ListRequest,
  value: readonly { readonly id: string }[],
  { isLast }: { readonly isLast: boolean },
): ApiAnswer {
  if (isLast) return ok({ value });
  return ok({
    value,
    nextLink: nextLink(request, { end: value.length, lastId: value.at(-1)?.id }),
  });
}

function parseTop(text: string | undefined): number {
  if (text === undefined) return MOST_PER_PAGE;
  const count = Number(text);
  if (/^\d{1,9}$/.test(text) && count >= 1) return Math.min(count, MOST_PER_PAGE);
  throw new Refusal(
    'InvalidQueryParameter',
    `$top must be a whole number from 1, not '${text.slice(0, 40)}'.`,
  );
}

function nextLink(
  { query, baseUrl, path, apiVersion }: ListRequest,
  place: { readonly end: number; readonly lastId: string | undefined },
): string {
  const token = JSON.stringify([TOKEN_VERSION, place.end, place.lastId]);
  const parameters = new URLSearchParams({ 'api-version': apiVersion });
  for (const name of ['$filter', '$top']) {
    const value = query.get(name);
    if (value !== undefined) parameters.set(name, value);
  }
  parameters.set('$skipToken', Buffer.from(token).toString('base64url'));
  return `${baseUrl}${path}?${parameters.toString()}`;
}

function startOf(token: string | undefined, entries: readonly { readonly id: string }[]): number {
  if (token === undefined) return 0;
  const [end, lastId] = readToken(token);
  const index = entries.findIndex(({ id }) => id === lastId);
  // What the last page ended with is gone: what followed it has moved up.
  return index < 0 ? Math.max(0, end - 1) : index + 1;
}

function readToken(token: string): readonly [number, string] {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    const [version, end, lastId] = value as readonly unknown[];
    const isOurs =
      version === TOKEN_VERSION && Number.isSafeInteger(end) && typeof lastId === 'string';
    if (isOurs) return [end as number, lastId];
  } catch {
    // Told below.
  }
  throw new Refusal('InvalidSkipToken', 'The $skipToken is none that this list has given.');
}
