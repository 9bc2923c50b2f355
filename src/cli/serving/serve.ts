/** `holdfast serve`: runs the service until Ctrl-C or SIGTERM, which are its normal end. Its log goes to standard error. */
import { resolve } from 'node:path';
import { shellQuoted } from '#base';
import type { Surroundings } from '../surroundings.ts';
import { untilAborted } from '../until-aborted.ts';
import { UsageError } from '../usage-error.ts';
import { dataFolderOf } from './data-folder.ts';

export type ServeCommandOptions = {
  readonly data?: string;
  readonly listen: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly managedIdentity?: boolean;
  readonly json?: boolean;
};

const MOST_PORT = 65_535;

export async function serve(
  surroundings: Surroundings,
  options: ServeCommandOptions,
): Promise<void> {
  const { stdout, signal } = surroundings;
  const data = dataFolderOf(options, surroundings);
  const service = await surroundings.serve({
    data,
    ...parseListen(options.listen),
    certificate: parseCertificate(options),
    hasManagedIdentity: options.managedIdentity === true,
    logsAll: true,
  });
  try {
    const { url, caFile, tenantId, subscriptionId, adminFile } = service;
    const facts = { url, data, caFile, tenantId, subscriptionId, adminFile };
    stdout.write(
      options.json === true ? `${JSON.stringify(facts)}\n` : describe({ ...service, data }),
    );
    await untilAborted(signal);
  } finally {
    await service.close();
  }
}

/** `127.0.0.1:8443`, `[::1]:8443`, `localhost:0` */
export function parseListen(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits = ''] =
    /^(?:\[([0-9a-f:.]+)\]|([\w.-]+)):(\d+)$/i.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host !== undefined && port <= MOST_PORT) return { host, port };
  throw new UsageError(`--listen ${text}: give an address and a port, as 127.0.0.1:8443`);
}

function parseCertificate({ certificate, key }: ServeCommandOptions) {
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate !== undefined && key !== undefined) {
    return { certificate: resolve(certificate), key: resolve(key) };
  }
  throw new UsageError('--certificate and --key belong together: give both');
}

type Described = Awaited<ReturnType<Surroundings['serve']>> & { readonly data: string };

function describe({ url, data, adminFile, isFirstStart, host }: Described): string {
  const isLocal = /^(?:127\.|::1$|localhost$)/.test(host);
  const lines = [
    `Holdfast serves ${data} at ${url}`,
    ...(isFirstStart
      ? [`The first account is in ${adminFile}: who can read it is the administrator.`]
      : []),
    ...(isLocal ? [] : [`It listens at ${host}: other machines can reach it.`]),
    'In another shell, with holdfast or az:',
    `  eval "$(holdfast env --data ${shellQuoted(data)})"`,
    isFirstStart
      ? '  holdfast host add machine --connect qemu:///system   the VMs of this machine; then: holdfast vm list'
      : '  holdfast vm list',
    '  az backup vault list --output table',
    'Ctrl-C ends it.',
  ];
  return `${lines.join('\n')}\n`;
}
