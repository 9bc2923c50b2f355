/** Names of the Web Crypto API that @peculiar/x509 speaks of: Node's. TypeScript has them in its DOM library only. */
import type { webcrypto } from 'node:crypto';

declare global {
  type AlgorithmIdentifier = webcrypto.AlgorithmIdentifier;
  type Algorithm = webcrypto.Algorithm;
  type BufferSource = webcrypto.BufferSource;
  type CryptoKeyPair = webcrypto.CryptoKeyPair;
  interface Crypto extends webcrypto.Crypto {}
  interface CryptoKey extends webcrypto.CryptoKey {}
  type EcKeyGenParams = webcrypto.EcKeyGenParams;
  type EcKeyImportParams = webcrypto.EcKeyImportParams;
  type EcdsaParams = webcrypto.EcdsaParams;
  type KeyUsage = webcrypto.KeyUsage;
  type RsaHashedImportParams = webcrypto.RsaHashedImportParams;
}
