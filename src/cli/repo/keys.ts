/** `holdfast repo key …`: the ways into a repository. */
import { shellQuoted } from '#base';
import { addKey, addRecoveryKey, listKeys, removeKey } from '#backup';
import type { Context } from '../context.ts';
import { formatTable, left } from '../output/table.ts';
import { formatTime } from '../output/units.ts';
import { readPasswordFile } from '../password/find-password.ts';
import { canPrompt, promptNewSecret } from '../password/prompt.ts';
import { warnOfShortPassword } from '../password/short-password.ts';
import { UsageError } from '../usage-error.ts';

const KINDS: Readonly<Record<string, string>> = {
  scrypt: 'password',
  recovery: 'recovery key',
  none: 'no encryption',
};

type Target = { readonly location: string };

export async function showKeys(context: Context, { location }: Target): Promise<void> {
  const { slots, damaged } = await context.withRepository({ location, access: 'read' }, listKeys);
  const shown = slots.map(({ slot, label, kdf, created }) => ({
    id: slot,
    label,
    kind: KINDS[kdf] ?? kdf,
    time: Date.parse(created) / 1000,
  }));
  context.terminal.result({ keys: shown, damaged }, () =>
    formatTable(
      [left('KEY'), left('KIND'), left('ADDED'), left('LABEL')],
      [
        ...shown.map(({ id, label, kind, time }) => [id, kind, formatTime(time * 1000), label]),
        ...damaged.map(({ name, reason }) => [name.slice(5), 'damaged', '', reason]),
      ],
    ),
  );
}

export async function addPassword(
  context: Context,
  options: Target & { readonly newPasswordFile: string | undefined; readonly label: string },
): Promise<void> {
  const { location, newPasswordFile, label } = options;
  const given = newPasswordFile === undefined ? undefined : await readPasswordFile(newPasswordFile);
  if (given === undefined && !canPrompt(context.surroundings)) throw noNewPassword();
  const added = await context.withRepository({ location, access: 'own' }, async (repository) => {
    context.terminal.clearProgress(); // A question may follow.
    const password =
      given ?? (await promptNewSecret(context.surroundings, `Additional password of ${location}`));
    warnOfShortPassword(context.terminal, password);
    return await addKey(repository, { kdf: 'scrypt', password }, label);
  });
  context.terminal.result(
    { id: added.slot, label },
    () => `Added the key ${added.slot}: ${label}.`,
  );
}

export async function addRecovery(
  context: Context,
  options: Target & { readonly label: string },
): Promise<void> {
  const { location, label } = options;
  const added = await context.withRepository(
    { location, access: 'own' },
    async (repository) => await addRecoveryKey(repository, label),
  );
  const { slot, recoveryKey } = added;
  context.terminal.result({ id: slot, label, recoveryKey }, () =>
    [
      'Print this recovery key and keep it where the password is not. It is shown once.',
      '',
      `  ${recoveryKey}`,
      '',
      'It opens the repository in place of a password, typed or in a password file.',
      `Should others have seen it: holdfast repo key remove ${shellQuoted(location)} ${slot.slice(0, 8)}`,
    ].join('\n'),
  );
}

export async function dropKey(
  context: Context,
  { location, key }: Target & { readonly key: string },
): Promise<void> {
  const removed = await context.withRepository(
    { location, access: 'own' },
    async (repository) => await removeKey(repository, key.toLowerCase()),
  );
  context.terminal.result({ id: removed }, () => `Removed the key ${removed}.`);
}

function noNewPassword(): UsageError {
  return new UsageError('the new password is missing: pass --new-password-file FILE');
}
