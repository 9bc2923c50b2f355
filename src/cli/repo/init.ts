/** `holdfast repo init`: makes a repository. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { createRepository, DEFAULT_BLOCK_SIZE, isBlockSize, type NewRepository } from '#backup';
import { folderOf } from '../arguments/output-paths.ts';
import { parseSize } from '../arguments/size.ts';
import type { Context } from '../context.ts';
import { formatBytes } from '../output/units.ts';
import { canPrompt, promptNewSecret } from '../password/prompt.ts';
import { warnOfShortPassword } from '../password/short-password.ts';
import { UsageError } from '../usage-error.ts';
import { HoldfastError, shellQuoted } from '#base';

export async function init(
  context: Context,
  input: { readonly location: string; readonly blockSize: string | undefined },
): Promise<void> {
  const { location } = input;
  const blockSize = parseBlockSize(input.blockSize);
  const folder = folderOf(location);
  if (folder !== undefined) requireParent(folder);
  const password = await newPassword(context, location);
  const made = await createRepository({
    location,
    blockSize,
    access: password === undefined ? { kdf: 'none' } : { kdf: 'scrypt', password },
    label: 'first password',
    caller: context.caller,
  });
  if (password !== undefined) warnOfShortPassword(context.terminal, password);
  context.terminal.result(
    {
      repositoryId: made.id,
      location: made.location,
      blockSize: made.blockSize,
      encrypted: made.isEncrypted,
    },
    () => describe(made),
  );
}

/** Its folder is made, those above it are not: they may be of a disk that is not mounted. */
function requireParent(folder: string): void {
  const parent = dirname(folder);
  if (existsSync(parent)) return;
  throw new HoldfastError(
    'ArgumentInvalid',
    `there is no folder "${parent}": is its disk mounted? Else make it first (mkdir -p ${shellQuoted(parent)})`,
    { details: { folder: parent } },
  );
}

function parseBlockSize(text: string | undefined): number {
  if (text === undefined) return DEFAULT_BLOCK_SIZE;
  const blockSize = parseSize('--block-size', text);
  if (isBlockSize(blockSize)) return blockSize;
  throw new UsageError(`--block-size ${text}: a block size is a power of two from 4KiB to 4MiB`);
}

/** Undefined: the repository shall not be encrypted. */
async function newPassword(context: Context, location: string): Promise<string | undefined> {
  const given = await context.givenPassword();
  if (given !== undefined || !context.options.encryption) return given;
  if (canPrompt(context.surroundings)) {
    return await promptNewSecret(context.surroundings, `New password for ${location}`);
  }
  throw new HoldfastError(
    'PasswordMissing',
    'a repository needs a password, or --no-encryption to do without',
  );
}

function describe({ id, location, blockSize, isEncrypted }: NewRepository): string {
  const lines = [
    `Made the repository ${id} in ${location}: blocks of ${formatBytes(blockSize)}, ` +
      `${isEncrypted ? 'encrypted' : 'NOT encrypted'}.`,
    `Blocks of 16 KiB serve to about 10 TB of unique data, 64 KiB (--block-size 64KiB) above.`,
  ];
  if (isEncrypted) {
    lines.push(
      `Without its password nobody can read it. Print a recovery key: holdfast repo key recovery ${shellQuoted(location)}`,
    );
  }
  return lines.join('\n');
}
