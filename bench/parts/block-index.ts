/** The block index at its size: `bench/index.ts` in a process of its own. */
import { join } from 'node:path';
import { runCommand } from '../measuring/run-command.ts';
import { printNote, tell } from '../measuring/tables.ts';
import type { Workplace } from '../measuring/workplace.ts';

export async function blockIndex({ folder, scale }: Workplace): Promise<void> {
  tell(`index: ${scale.indexEntries} ids`);
  const script = join(import.meta.dirname, '../index.ts');
  const size = ['--entries', String(scale.indexEntries), '--only', 'holdfast', '--dir', folder];
  const args = [process.execPath, '--disable-warning=ExperimentalWarning', script, ...size];
  const { stdout } = await runCommand({ args });
  printNote(`### The block index at random ids\n\n${stdout.trim()}`);
}
