/**
 * NBD addresses, in the URI form of the NetworkBlockDevice project's doc/uri.md:
 * `nbd://host[:port]/export` and `nbd+unix:///export?socket=/path`. TLS forms are refused.
 */
import { HoldfastError } from '#base';
import { DEFAULT_PORT } from './nbd-protocol.ts';

export type NbdAddress = {
  readonly endpoint: { readonly path: string } | { readonly host: string; readonly port: number };
  readonly exportName: string;
};

/** Whether a disk's location is an NBD address and not a path. */
export function isNbdUri(location: string): boolean {
  return /^nbds?(\+(unix|vsock))?:/.test(location);
}

/** @throws {HoldfastError} `ArgumentInvalid` if the URI is none of the supported forms. */
export function parseNbdUri(uri: string): NbdAddress {
  const url = URL.parse(uri);
  if (url === null) throw invalid(uri);
  const exportName = decodeURIComponent(url.pathname.replace(/^\//, ''));

  if (url.protocol === 'nbd+unix:') {
    const path = url.searchParams.get('socket');
    if (path === null || path === '' || url.host !== '') throw invalid(uri);
    return { endpoint: { path }, exportName };
  }
  if (url.protocol !== 'nbd:' || url.hostname === '' || url.username !== '') throw invalid(uri);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return {
    endpoint: { host, port: url.port === '' ? DEFAULT_PORT : Number(url.port) },
    exportName,
  };
}

/** The inverse of `parseNbdUri`. */
export function formatNbdUri({ endpoint, exportName }: NbdAddress): string {
  const name = encodeURIComponent(exportName);
  if ('path' in endpoint) return `nbd+unix:///${name}?socket=${encodeURIComponent(endpoint.path)}`;
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  return `nbd://${host}:${endpoint.port}/${name}`;
}

function invalid(uri: string): HoldfastError {
  return new HoldfastError(
    'ArgumentInvalid',
    `"${uri}" is not an NBD address that Holdfast reads: ` +
      'use nbd://host[:port]/export or nbd+unix:///export?socket=/path',
  );
}
