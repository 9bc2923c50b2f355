/** What a request says before anything is looked up: its host, its path, its ids. */
import type { IncomingHttpHeaders } from 'node:http';
import { hasControlCharacters } from './control-characters.ts';
import { Refusal } from './refusal.ts';

const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;
const REQUEST_ID = /^[\w.:-]{1,128}$/;

/** For the links that we answer: the host that the client used. @throws {Refusal} `InvalidHostName` */
export function baseUrlOf({ host, ...others }: IncomingHttpHeaders): string {
  const name = host ?? others[':authority'];
  if (typeof name === 'string' && HOST.test(name)) return `https://${name}`;
  throw new Refusal('InvalidHostName', 'The Host header is missing or no name of a host.');
}

/** Without the query. */
export function pathOf(url: string): string {
  const [path = '/'] = url.split('?', 1);
  return path;
}

/** @throws {Refusal} `UriTooLong`; `InvalidRequestUri` for what cannot be decoded, and for control characters. */
export function checkPath(url: string, longest: number): void {
  if (url.length > longest) throw new Refusal('UriTooLong', `The URL is longer than ${longest}.`);
  let decoded: string;
  try {
    decoded = decodeURIComponent(pathOf(url));
  } catch {
    throw new Refusal('InvalidRequestUri', 'The path of the request cannot be decoded.');
  }
  if (hasControlCharacters(decoded)) {
    throw new Refusal('InvalidRequestUri', 'The path of the request has control characters.');
  }
}

/** What the client calls its request, where that can be echoed. */
export function clientRequestId(headers: IncomingHttpHeaders): string | undefined {
  const id = headers['x-ms-client-request-id'];
  return typeof id === 'string' && REQUEST_ID.test(id) ? id : undefined;
}
