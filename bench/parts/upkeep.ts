/** Every other command on the repository of the shared disk: time and private memory. */
import { runCommand, type Measured } from '../measuring/run-command.ts';
import { holdfast } from '../measuring/holdfast.ts';
import { printTable, RUN_COLUMNS, runCells, tell } from '../measuring/tables.ts';
import { holdfastTool } from '../measuring/tools.ts';
import { baseDisk, changedDisk, settleDisk, type Workplace } from '../measuring/workplace.ts';

export async function upkeep(place: Workplace): Promise<void> {
  const tool = holdfastTool(place);
  await tool.prepare();
  await runCommand(tool.backUp(baseDisk(place), { name: 'first' }));
  await runCommand(tool.backUp(changedDisk(place).path, { name: 'second' }));
  const { repository } = tool;
  const rows: string[][] = [];
  const run = async (title: string, args: readonly string[]): Promise<Measured | undefined> => {
    tell(`upkeep: ${title}`);
    settleDisk();
    try {
      const measured = await runCommand(holdfast(...args));
      rows.push([title, ...runCells([measured])]);
      return measured;
    } catch (error) {
      tell(String(error)); // The others are measured all the same.
      return undefined;
    }
  };
  const listed = await run('points', ['points', repository]);
  await run('stats', ['stats', repository]);
  await run('verify', ['verify', repository]);
  await run('verify --read-data', ['verify', repository, '--read-data']);
  await run('rebuild-index', ['rebuild-index', repository]);
  const { points } = JSON.parse(listed!.stdout) as { readonly points: readonly { id: string }[] };
  await run('diff', ['diff', repository, points[0]!.id, points[1]!.id]);
  await run('expire of the first point', ['expire', repository, points[0]!.id]);
  await run('compact', ['compact', repository]);
  printTable('Other commands', ['command', ...RUN_COLUMNS], rows);
}
