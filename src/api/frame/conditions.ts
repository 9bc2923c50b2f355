/** Entity tags (RFC 9110): `"<revision>"`, and the conditions that clients put on a change. */
import type { IncomingHttpHeaders } from 'node:http';
import { HoldfastError } from '#base';
import { Refusal } from './refusal.ts';

export function entityTag(revision: number): string {
  return `"${revision}"`;
}

/** The revision that `If-Match` asks for; undefined: any. @throws {Refusal} `InvalidHeaderValue` */
export function wantedRevision(headers: IncomingHttpHeaders): number | undefined {
  const wanted = headers['if-match'];
  if (wanted === undefined || wanted === '*') return undefined;
  const revision = /^(?:W\/)?"?(\d{1,15})"?$/.exec(wanted)?.[1];
  if (revision !== undefined) return Number(revision);
  throw new Refusal('InvalidHeaderValue', 'If-Match must be the eTag of the resource, or *.');
}

/** @throws {HoldfastError} `PreconditionFailed` if the client wanted a new resource (`If-None-Match: *`). */
export function requireNew(headers: IncomingHttpHeaders, isThere: boolean): void {
  if (headers['if-none-match'] === undefined || !isThere) return;
  throw new HoldfastError('PreconditionFailed', 'The resource is there already.');
}

/** @throws {HoldfastError} `PreconditionFailed` if the client wanted to change one that is there (`If-Match`). */
export function requireThere(headers: IncomingHttpHeaders, isThere: boolean): void {
  if (headers['if-match'] === undefined || isThere) return;
  throw new HoldfastError('PreconditionFailed', 'The resource is not there.');
}
