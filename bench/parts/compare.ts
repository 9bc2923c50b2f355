/** First backup, second backup after scattered writes, restore: beside restic, borg and qemu-img. */
import { linkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand, type Measured } from '../measuring/run-command.ts';
import {
  mebibytes,
  median,
  medianSeconds,
  printTable,
  ratio,
  RUN_COLUMNS,
  runCells,
  tell,
} from '../measuring/tables.ts';
import {
  borgTool,
  DISK,
  holdfastTool,
  qemuTool,
  resticTool,
  type BackupOptions,
  type Tool,
} from '../measuring/tools.ts';
import {
  baseDisk,
  changedDisk,
  freshFolder,
  mustEqual,
  settleDisk,
  type Workplace,
} from '../measuring/workplace.ts';

type Runs = {
  readonly first: Measured[];
  readonly second: Measured[];
  readonly restore: Measured[];
  readonly firstBytes: number[];
  readonly growth: number[];
};

const HINTED = 'holdfast, hint';

export async function compare(place: Workplace): Promise<void> {
  const base = baseDisk(place);
  const { path: changed, hint } = changedDisk(place);
  const own = holdfastTool(place);
  const tools: Tool[] = [own, resticTool(place), borgTool(place), qemuTool(place)];
  const runs = new Map([...tools.map((tool) => tool.name), HINTED].map((name) => [name, noRuns()]));
  const disk = join(freshFolder(place, 'source'), DISK);
  const show = (path: string): void => {
    rmSync(disk, { force: true });
    linkSync(path, disk);
  };
  for (let round = 0; round < place.scale.rounds; round++) {
    const turn = [...tools.slice(round % tools.length), ...tools.slice(0, round % tools.length)];
    for (const tool of turn) {
      tell(`compare: round ${round + 1}, ${tool.name}`);
      const into = runs.get(tool.name)!;
      await tool.prepare();
      show(base);
      into.first.push(await timedBackup(tool, disk, { name: 'first' }));
      into.firstBytes.push(tool.storedBytes());
      show(changed);
      if (tool === own) {
        const fork = own.fork();
        await second(fork, { disk, hint, into: runs.get(HINTED)! });
        if (round === 0) mustEqual(changed, (await timedRestore(place, fork)).path);
        rmSync(fork.repository, { recursive: true });
      }
      await second(tool, { disk, into });
      const restored = await timedRestore(place, tool);
      into.restore.push(restored.measured);
      if (round === 0) mustEqual(changed, restored.path);
      if (tool !== own) await tool.prepare();
    }
  }
  print(place, tools, runs);
}

function noRuns(): Runs {
  return { first: [], second: [], restore: [], firstBytes: [], growth: [] };
}

async function timedBackup(tool: Tool, disk: string, options: BackupOptions): Promise<Measured> {
  settleDisk();
  const measured = await runCommand(tool.backUp(disk, options));
  tell(`  backup ${options.name}: ${measured.seconds.toFixed(2)} s`);
  return measured;
}

async function second(
  tool: Tool,
  { disk, hint, into }: { readonly disk: string; readonly hint?: string; readonly into: Runs },
): Promise<void> {
  const before = tool.storedBytes();
  const options = { name: 'second', ...(hint === undefined ? {} : { hint }) };
  into.second.push(await timedBackup(tool, disk, options));
  into.growth.push(tool.storedBytes() - before);
}

/** The file stays until the next restore. */
async function timedRestore(
  place: Workplace,
  tool: Tool,
): Promise<{ readonly measured: Measured; readonly path: string }> {
  const to = freshFolder(place, 'restored');
  settleDisk();
  const measured = await runCommand(tool.restore(to));
  tell(`  restore: ${measured.seconds.toFixed(2)} s`);
  return { measured, path: join(to, DISK) };
}

function print(place: Workplace, tools: readonly Tool[], runs: ReadonlyMap<string, Runs>): void {
  const of = (name: string): Runs => runs.get(name)!;
  const [own, hinted, restic, borg] = ['holdfast', HINTED, 'restic', 'borg'].map(of) as [
    Runs,
    Runs,
    Runs,
    Runs,
  ];
  const versions = tools.map(({ name, version }) => [name, version]);
  printTable('Versions', ['tool', 'version'], versions);
  printTable(
    'First backup',
    ['tool', ...RUN_COLUMNS, 'stored MiB'],
    tools.map(({ name }) => [
      name,
      ...runCells(of(name).first),
      mebibytes(median(of(name).firstBytes)),
    ]),
  );
  const { changedMib } = place.scale;
  printTable(
    `Second backup, after ${changedMib} MiB of scattered 4 KiB writes`,
    ['tool', ...RUN_COLUMNS, 'grown by MiB'],
    ['holdfast', HINTED, ...tools.slice(1).map(({ name }) => name)].map((name) => [
      name,
      ...runCells(of(name).second),
      mebibytes(median(of(name).growth)),
    ]),
  );
  printTable(
    'Restore of the second point to a new file',
    ['tool', ...RUN_COLUMNS],
    tools.map(({ name }) => [name, ...runCells(of(name).restore)]),
  );
  const against = (one: Measured[], other: Measured[], most: number): string =>
    ratio(medianSeconds(one) / medianSeconds(other), { most });
  printTable(
    'Against the targets',
    ['what', 'result'],
    [
      ['first backup, of restic’s time', against(own.first, restic.first, 0.4)],
      ['first backup, of borg’s time', against(own.first, borg.first, 0.7)],
      ['second backup, of restic’s time', against(own.second, restic.second, 0.15)],
      [
        'second backup with the hint, of restic’s time',
        against(hinted.second, restic.second, 0.06),
      ],
      ['growth, of restic’s', ratio(median(own.growth) / median(restic.growth), { most: 0.15 })],
      ['restore, of restic’s time', against(own.restore, restic.restore, 0.6)],
    ],
  );
}
