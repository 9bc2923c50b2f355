/**
 * The certificate authority of one service, and the server certificates it signs (ECDSA P-256, RFC 5280).
 *
 * ```
 *   authority   10 years, may sign servers only (path length 0)   ca.pem: what clients are to trust
 *      └──► server   300 days, localhost, 127.0.0.1, ::1, the host's name and what it listens at
 * ```
 */
import 'reflect-metadata'; // @peculiar/x509 does not load without it.
import {
  createPublicKey,
  randomBytes,
  webcrypto,
  X509Certificate as NodeCertificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

/** PEM texts. */
export type KeyAndCertificate = { readonly key: string; readonly certificate: string };

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 24 * 60 * 60 * 1000;
const AUTHORITY_DAYS = 3652;
const SERVER_DAYS = 300;
/** A client's clock may be behind ours. */
const BACK_MS = DAY_MS;
const SERIAL_BYTES = 16;
const LOOPBACK = ['localhost', '127.0.0.1', '::1'];

/** @param name of the machine; shown to whoever looks at the certificate. */
export async function makeAuthority(name: string, nowMs: number): Promise<KeyAndCertificate> {
  const keys = await makeKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [`Holdfast CA of ${name} ${randomBytes(3).toString('hex')}`] }],
    notBefore: new Date(nowMs - BACK_MS),
    notAfter: new Date(nowMs + AUTHORITY_DAYS * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { key: await keyToPem(keys.privateKey), certificate: certificate.toString('pem') };
}

/** @param names host names and addresses; those of the loopback are added. */
export async function makeServerCertificate(
  authority: KeyAndCertificate,
  names: readonly string[],
  nowMs: number,
): Promise<KeyAndCertificate> {
  const keys = await makeKeys();
  const issuer = new X509Certificate(authority.certificate);
  const all = [...new Set([...LOOPBACK, ...names])];
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [all.find((name) => isIP(name) === 0) ?? 'localhost'] }],
    issuer: issuer.subject,
    notBefore: new Date(nowMs - BACK_MS),
    notAfter: new Date(nowMs + SERVER_DAYS * DAY_MS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey: await keyFromPem(authority.key),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        all.map((value) => ({
          type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const),
          value,
        })),
      ),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  const chain = certificate.toString('pem') + '\n' + authority.certificate;
  return { key: await keyToPem(keys.privateKey), certificate: chain };
}

/** Whether the certificate still serves: signed by this authority, for all names, longer than `leastMs`. */
export function isGood(
  server: KeyAndCertificate,
  wanted: {
    readonly authority: string;
    readonly names: readonly string[];
    readonly nowMs: number;
    readonly leastMs: number;
  },
): boolean {
  try {
    const certificate = new NodeCertificate(server.certificate);
    const names = [...LOOPBACK, ...wanted.names];
    return (
      certificate.verify(new NodeCertificate(wanted.authority).publicKey) &&
      certificate.publicKey.equals(createPublicKey(server.key)) &&
      names.every((name) =>
        isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name),
      ) &&
      certificate.validToDate.getTime() - wanted.nowMs > wanted.leastMs
    );
  } catch {
    return false; // No certificate: another one is made.
  }
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

async function keyToPem(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY') + '\n';
}

async function keyFromPem(pem: string): Promise<webcrypto.CryptoKey> {
  const bytes = PemConverter.decodeFirst(pem);
  return await webcrypto.subtle.importKey('pkcs8', bytes, ALGORITHM, false, ['sign']);
}

/** Positive, as RFC 5280 wants it. */
function serialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString('hex');
}
