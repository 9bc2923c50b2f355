/** Kills the backup of a group at one of its stages (group-child.ts). */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { GroupSite } from './group-site.ts';

/** On return it is dead. */
export async function killedAt(stage: string, site: GroupSite): Promise<void> {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      join(import.meta.dirname, 'group-child.ts'),
      stage,
      site.repository,
      site.folder,
      ...[...site.vms].flat(),
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
  assert.equal(signal, 'SIGKILL', 'it came to its stage');
}
