/**
 * The master key of a data folder: 32 random bytes in a file that only its owner reads, under which other keys
 * are sealed (AES-256-GCM; what a key is for is associated data, so that no sealed key serves as another).
 *
 * ```
 *   sealed = version (1) ‖ nonce (12) ‖ ciphertext ‖ tag (16), in base64
 * ```
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { chmod, open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HoldfastError } from '#base';

export type MasterKey = {
  /** @param purpose what the secret is for: the same must be said to open it. */
  readonly seal: (secret: Buffer, purpose: string) => string;
  /** @throws {HoldfastError} `MasterKeyWrong` if it was sealed under another key, for another purpose, or is damaged. */
  readonly unseal: (sealed: string, purpose: string) => Buffer;
};

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const VERSION = 1;
const OTHERS_MAY = 0o077;

/**
 * Reads the key; makes it where the file is not there and `mayCreate`.
 *
 * @throws {HoldfastError} `MasterKeyWrong` if the file is missing, of the wrong length, or readable by others.
 */
export async function openMasterKey(
  path: string,
  options: { readonly random: (sizeBytes: number) => Buffer; readonly mayCreate: boolean },
): Promise<MasterKey> {
  if (options.mayCreate) await createIfAbsent(path, options.random(KEY_BYTES));
  return masterKey(await readKey(path), options.random);
}

/** Durable before anything is sealed under it. */
async function createIfAbsent(path: string, key: Buffer): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(key);
      await file.sync();
    } finally {
      await file.close();
    }
    await syncFolder(dirname(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function readKey(path: string): Promise<Buffer> {
  let key: Buffer;
  try {
    key = await readFile(path);
    const { mode } = await stat(path);
    // Somebody may have copied it back without its mode; what it protects is worth more than the reason.
    if ((mode & OTHERS_MAY) !== 0) await chmod(path, 0o600);
  } catch (error) {
    throw unusable(path, `cannot be read (${String(error)})`, error);
  }
  if (key.length !== KEY_BYTES) throw unusable(path, `has ${key.length} bytes, not ${KEY_BYTES}`);
  return key;
}

function masterKey(key: Buffer, random: (sizeBytes: number) => Buffer): MasterKey {
  return {
    seal: (secret, purpose) => {
      const nonce = random(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(purpose));
      const sealed = Buffer.concat([cipher.update(secret), cipher.final()]);
      const all = [Buffer.from([VERSION]), nonce, sealed, cipher.getAuthTag()];
      return Buffer.concat(all).toString('base64');
    },
    unseal: (sealed, purpose) => {
      const bytes = Buffer.from(sealed, 'base64');
      try {
        if (bytes[0] !== VERSION) throw new Error('unknown version');
        const nonce = bytes.subarray(1, 1 + NONCE_BYTES);
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
        decipher.setAAD(Buffer.from(purpose)).setAuthTag(bytes.subarray(-TAG_BYTES));
        const body = bytes.subarray(1 + NONCE_BYTES, -TAG_BYTES);
        return Buffer.concat([decipher.update(body), decipher.final()]);
      } catch (error) {
        throw new HoldfastError(
          'MasterKeyWrong',
          `the key of ${purpose} cannot be unwrapped: master.key is not the one that it was wrapped under`,
          { cause: error },
        );
      }
    },
  };
}

function unusable(path: string, why: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'MasterKeyWrong',
    `${path} ${why}: put the master key of this data folder back; without it the vaults open only by ` +
      'their recovery keys',
    { details: { path }, cause },
  );
}
