/** The service's rules at its limits: `bench/rules.ts` in a process of its own. */
import { join } from 'node:path';
import { runCommand } from '../measuring/run-command.ts';
import { printNote, tell } from '../measuring/tables.ts';
import { SMALL, type Workplace } from '../measuring/workplace.ts';

export async function rules({ folder, scale }: Workplace): Promise<void> {
  tell('rules: a vault of 1 000 VMs with 100 points is made; some minutes');
  const script = join(import.meta.dirname, '../rules.ts');
  const how = ['--work', folder, ...(scale === SMALL ? ['--small'] : [])];
  const args = [process.execPath, '--disable-warning=ExperimentalWarning', script, ...how];
  const { stdout } = await runCommand({ args });
  printNote(`## The service’s rules\n\n${stdout.trim()}`);
}
