/**
 * Where a password comes from: `--password-file`, else `HOLDFAST_PASSWORD`, else a prompt. It is never an
 * argument, which every user of the machine could see.
 */
import { open } from 'node:fs/promises';
import { HoldfastError } from '#base';

const MAX_PASSWORD_BYTES = 64 * 1024;

/**
 * The password in the file, without the line end that editors add.
 *
 * @throws {HoldfastError} `ArgumentInvalid` if the file cannot be read or holds no password.
 */
export async function readPasswordFile(path: string): Promise<string> {
  const bytes = await readStart(path);
  if (bytes.length > MAX_PASSWORD_BYTES) {
    throw new HoldfastError('ArgumentInvalid', `"${path}" is too large for a password file`);
  }
  const password = decode(path, bytes).replace(/\r?\n$/, '');
  if (password === '') throw new HoldfastError('ArgumentInvalid', `"${path}" holds no password`);
  if (/[\r\n\0]/.test(password)) {
    throw new HoldfastError(
      'ArgumentInvalid',
      `"${path}" has more than one line: a password file holds the password only`,
    );
  }
  return password;
}

/** Up to one byte more than allowed: a device as password file ends too. */
async function readStart(path: string): Promise<Buffer> {
  try {
    const handle = await open(path, 'r');
    try {
      const parts: Buffer[] = [];
      for (let size = 0; size <= MAX_PASSWORD_BYTES;) {
        const part = Buffer.alloc(MAX_PASSWORD_BYTES + 1 - size);
        const { bytesRead } = await handle.read(part, 0, part.length, null);
        if (bytesRead === 0) break;
        parts.push(part.subarray(0, bytesRead));
        size += bytesRead;
      }
      return Buffer.concat(parts);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new HoldfastError(
      'ArgumentInvalid',
      `cannot read the password file "${path}": ${reasonOf(cause)}`,
      { cause },
    );
  }
}

function decode(path: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new HoldfastError('ArgumentInvalid', `"${path}" is not a text file in UTF-8`, { cause });
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'no permission';
  if (code === 'EISDIR') return 'it is a folder';
  return message;
}
