/**
 * The API of a service on a port.
 *
 * ```
 *   accounts ─► certificate ─► listen ─► admin.json (first start), state.json ─► renew certificates until close
 * ```
 */
import type { AddressInfo, Socket } from 'node:net';
import { readFile, rm } from 'node:fs/promises';
import type { Server } from 'node:https';
import { pause } from '#base';
import { openAccess, writePrivate, type Service } from '#service';
import { buildApp, DEFAULT_LIMITS, type ApiLimits } from '../frame/build-app.ts';
import { ROUTES } from '../routes.ts';
import type { KeyAndCertificate } from '../tls/certificates.ts';
import { openTls, type Tls } from '../tls/open-tls.ts';
import { listenFailed } from './listen-failed.ts';

type ApiOptions = {
  readonly host: string;
  /** 0: one that is free. */
  readonly port: number;
  /** The name of this machine. */
  readonly machine: string;
  /** The owner's certificate and its key, PEM files; absent: one of our own authority. */
  readonly certificate?: { readonly certificate: string; readonly key: string } | undefined;
  readonly hasManagedIdentity: boolean;
  readonly limits?: Partial<ApiLimits>;
};

type RunningApi = {
  /** `https://localhost:8443` */
  readonly url: string;
  /** Undefined with the owner's certificate. */
  readonly caFile: string | undefined;
  readonly tenantId: string;
  readonly subscriptionId: string;
  /** Where the first account was written. */
  readonly adminFile: string;
  readonly isFirstStart: boolean;
  /** Ends listening; requests under way are cut off. */
  readonly close: () => Promise<void>;
};

type Place = Pick<RunningApi, 'url' | 'caFile' | 'tenantId' | 'subscriptionId'>;

/** What programs read to use the service. */
type Account = Place & { readonly clientId: string; readonly clientSecret: string };

const TLS = 'TLSv1.2' as const;
const RENEWAL_MS = 12 * 60 * 60 * 1000;

/** @throws {HoldfastError} `ListenFailed`, `CertificateUnusable`, `MasterKeyWrong` for the key of tokens. */
export async function startApi(service: Service, options: ApiOptions): Promise<RunningApi> {
  const { dataFolder, clock, log } = service;
  const { host, machine, hasManagedIdentity, certificate: own } = options;
  const access = await openAccess(service);
  const names = [machine, ...(isWildcard(host) ? [] : [host])];
  const tls = await openTls({ files: dataFolder, clock, names, own });
  const shown = await tls.current();
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const https = { key: shown.key, cert: shown.certificate, minVersion: TLS };
  const app = buildApp({ service, access, hasManagedIdentity, routes: ROUTES, log, limits, https });
  const endSockets = followSockets(app.server as Server);
  const port = await listen(app, options);
  const url = `https://${nameInUrl(host)}:${port}`;
  const { tenantId, subscriptionId } = access;
  const { caFile } = tls;
  const place = { url, caFile, tenantId, subscriptionId };
  const isFirstStart = await access.makeFirstPrincipal(async ({ clientId, clientSecret }) => {
    await writeAccount(dataFolder.admin, { ...place, clientId, clientSecret });
  });
  if (!isFirstStart) await moveAccount(dataFolder.admin, place);
  const { process, version } = service.caller;
  await writePrivate(dataFolder.state, json({ ...place, pid: process.pid, version }));
  const closing = new AbortController();
  const renewal = renewCertificate({ app, tls, service, shown, signal: closing.signal });
  log.info({ url }, 'the API listens');
  return {
    ...place,
    adminFile: dataFolder.admin,
    isFirstStart,
    close: async () => {
      closing.abort();
      await renewal;
      const closed = app.close();
      endSockets();
      await closed;
      await rm(dataFolder.state, { force: true });
    },
  };
}

/** A connection whose handshake goes on is none to HTTP yet, and would keep a server open that is closed. */
function followSockets(server: Server): () => void {
  const sockets = new Set<Socket>();
  let isEnding = false;
  server.on('connection', (socket: Socket) => {
    if (isEnding) socket.destroy();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return () => {
    isEnding = true;
    for (const socket of sockets) socket.destroy();
  };
}

type Renewal = {
  readonly app: ReturnType<typeof buildApp>;
  readonly tls: Tls;
  readonly service: Service;
  readonly shown: KeyAndCertificate;
  readonly signal: AbortSignal;
};

/** Until aborted. */
async function renewCertificate({ app, tls, service, shown, signal }: Renewal): Promise<void> {
  const { clock, log } = service;
  let last = shown.certificate;
  for (;;) {
    await pause(clock, RENEWAL_MS, signal);
    if (signal.aborted) return;
    try {
      const { key, certificate } = await tls.current();
      if (certificate === last) continue;
      (app.server as Server).setSecureContext({ key, cert: certificate, minVersion: TLS });
      last = certificate;
      log.info({}, 'the certificate was renewed');
    } catch (error) {
      log.error({ error: String(error) }, 'the certificate cannot be renewed; it is tried again');
    }
  }
}

async function writeAccount(path: string, account: Account): Promise<void> {
  await writePrivate(path, json(account));
}

/** The service may listen elsewhere than before; an account that its owner has taken away stays away. */
async function moveAccount(path: string, place: Place): Promise<void> {
  let account: Account;
  try {
    account = JSON.parse(await readFile(path, 'utf8')) as Account;
  } catch {
    return;
  }
  if (account.url === place.url && account.caFile === place.caFile) return;
  await writeAccount(path, { ...account, ...place });
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function listen(
  app: ReturnType<typeof buildApp>,
  { host, port }: ApiOptions,
): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw listenFailed({ host, port }, error);
  }
  return (app.server.address() as AddressInfo).port;
}

function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** Names are what certificates of others have, and `az` prints nicer. */
function nameInUrl(host: string): string {
  if (isWildcard(host) || host === '127.0.0.1' || host === '::1') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
