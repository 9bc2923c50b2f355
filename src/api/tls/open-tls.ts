/**
 * The certificate that the service shows: its owner's, or one of its own, which is made anew before it ends.
 *
 * ```
 *   ca.pem  tls/ca.key            made once, at the first start
 *   tls/server.pem  tls/server.key   made anew when a name is missing or fewer than 60 days are left
 * ```
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, type Clock } from '#base';
import { writePrivate } from '#service';
import {
  isGood,
  makeAuthority,
  makeServerCertificate,
  type KeyAndCertificate,
} from './certificates.ts';

type TlsFiles = {
  /** `ca.pem`: for clients. */
  readonly authority: string;
  /** A folder of 700. */
  readonly tls: string;
};

export type TlsOptions = {
  readonly files: TlsFiles;
  readonly clock: Clock;
  /** Of this machine, and what it listens at; addresses too. */
  readonly names: readonly string[];
  /** Paths of PEM files. */
  readonly own?: { readonly certificate: string; readonly key: string } | undefined;
};

export type Tls = {
  /** What a client is to trust; undefined: the owner's certificate is that of a known authority. */
  readonly caFile: string | undefined;
  /** The one to show now; made anew where that is due. */
  readonly current: () => Promise<KeyAndCertificate>;
};

const DAY_MS = 24 * 60 * 60 * 1000;
const RENEW_MS = 60 * DAY_MS;
const READABLE = 0o644;

/** @throws {HoldfastError} `CertificateUnusable` if the owner's do not fit or the authority's key is damaged. */
export async function openTls(options: TlsOptions): Promise<Tls> {
  const { own, files } = options;
  if (own !== undefined) {
    await readOwn(own);
    return { caFile: undefined, current: async () => await readOwn(own) };
  }
  const authority = await openAuthority(options);
  const current = async (): Promise<KeyAndCertificate> => await openServer(options, authority);
  await current();
  return { caFile: files.authority, current };
}

/** Read anew each time: its owner renews it. */
async function readOwn(own: NonNullable<TlsOptions['own']>): Promise<KeyAndCertificate> {
  try {
    const [certificate, key] = await Promise.all([
      readFile(own.certificate, 'utf8'),
      readFile(own.key, 'utf8'),
    ]);
    const isPair = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
    if (!isPair) throw new Error('the key is not that of the certificate');
    return { certificate, key };
  } catch (error) {
    throw unusable(own.certificate, error);
  }
}

async function openAuthority({ files, clock, names }: TlsOptions): Promise<KeyAndCertificate> {
  const keyFile = join(files.tls, 'ca.key');
  const known = await readPair(keyFile, files.authority);
  if (known === undefined) {
    const made = await makeAuthority(names[0] ?? 'localhost', clock.nowMs());
    // The certificate last: without it both are made again.
    await writePrivate(keyFile, made.key);
    await writePrivate(files.authority, made.certificate, READABLE);
    return made;
  }
  try {
    const isPair = new X509Certificate(known.certificate).checkPrivateKey(
      createPrivateKey(known.key),
    );
    if (!isPair) throw new Error(`${keyFile} is not its key`);
  } catch (error) {
    throw unusable(files.authority, error);
  }
  return known;
}

async function openServer(
  { files, clock, names }: TlsOptions,
  authority: KeyAndCertificate,
): Promise<KeyAndCertificate> {
  const [keyFile, certificateFile] = [join(files.tls, 'server.key'), join(files.tls, 'server.pem')];
  const known = await readPair(keyFile, certificateFile);
  const nowMs = clock.nowMs();
  const wanted = { authority: authority.certificate, names, nowMs, leastMs: RENEW_MS };
  if (known !== undefined && isGood(known, wanted)) return known;
  const made = await makeServerCertificate(authority, names, nowMs);
  await writePrivate(keyFile, made.key);
  await writePrivate(certificateFile, made.certificate, READABLE);
  return made;
}

/** @returns undefined unless both are there. */
async function readPair(
  keyFile: string,
  certificateFile: string,
): Promise<KeyAndCertificate | undefined> {
  try {
    const certificate = await readFile(certificateFile, 'utf8');
    const key = await readFile(keyFile, 'utf8');
    await chmod(keyFile, 0o600);
    return { key, certificate };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function unusable(path: string, error: unknown): HoldfastError {
  const why = error instanceof Error ? error.message : String(error);
  return new HoldfastError('CertificateUnusable', `${path} cannot be used for https: ${why}`, {
    cause: error,
    details: { path },
  });
}
