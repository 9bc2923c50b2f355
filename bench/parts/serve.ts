/** A point read through `serve` by nbdcopy, beside qemu-nbd of the same data in raw and in compressed qcow2. */
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { holdfast } from '../measuring/holdfast.ts';
import { runCommand, startCommand, type Command } from '../measuring/run-command.ts';
import { mebibytes, median, printNote, printTable, tell } from '../measuring/tables.ts';
import { holdfastTool } from '../measuring/tools.ts';
import { baseDisk, dataRanges, type Workplace } from '../measuring/workplace.ts';

type Server = { readonly name: string; readonly command: (socket: string) => Command };

export async function serve(place: Workplace): Promise<void> {
  const disk = baseDisk(place);
  const tool = holdfastTool(place);
  await tool.prepare();
  await runCommand(tool.backUp(disk, { name: 'first' }));
  const qcow2 = join(place.folder, 'served.qcow2');
  const zstd = ['-c', '-o', 'compression_type=zstd'];
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...zstd, disk, qcow2]);
  const qemuNbd =
    (format: string, path: string): Server['command'] =>
    (socket) => ({
      args: ['qemu-nbd', '-r', '-t', '-e', '8', '-f', format, '-k', socket, path],
    });
  const servers: Server[] = [
    {
      name: 'holdfast serve',
      command: (socket) =>
        holdfast(
          'serve',
          tool.repository,
          'latest',
          '--item',
          'vm',
          '--disk',
          'vda',
          '--socket',
          socket,
        ),
    },
    { name: 'qemu-nbd, raw', command: qemuNbd('raw', disk) },
    { name: 'qemu-nbd, qcow2 zstd', command: qemuNbd('qcow2', qcow2) },
  ];
  const dataBytes = dataRanges(disk).reduce((sum, { length }) => sum + length, 0);
  const runs = new Map(servers.map(({ name }) => [name, [] as Reading[]]));
  for (let round = 0; round < place.scale.rounds; round++) {
    for (const server of servers) runs.get(server.name)!.push(await read(place, server));
  }
  rmSync(qcow2);
  print(runs, dataBytes);
}

type Reading = { readonly firstS: number; readonly againS: number; readonly peakBytes: number };

/** A server just started reads its first time, then once more. */
async function read(place: Workplace, { name, command }: Server): Promise<Reading> {
  const socket = join(place.folder, 'served.sock');
  const { child, peak } = startCommand(command(socket));
  const ended = new Promise((settle) => child.once('close', settle));
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stdout!.resume();
  try {
    for (let tries = 0; !existsSync(socket); tries++) {
      if (child.exitCode !== null || tries > 600) throw new Error(`${name}: ${said}`);
      await sleep(50);
    }
    await sleep(200);
    const copy: Command = { args: ['nbdcopy', `nbd+unix:///?socket=${socket}`, 'null:'] };
    const first = await runCommand(copy);
    const again = await runCommand(copy);
    tell(`serve: ${name} ${first.seconds.toFixed(2)} s, again ${again.seconds.toFixed(2)} s`);
    return { firstS: first.seconds, againS: again.seconds, peakBytes: peak() };
  } finally {
    child.kill('SIGTERM');
    await ended;
    rmSync(socket, { force: true });
  }
}

function print(runs: ReadonlyMap<string, readonly Reading[]>, dataBytes: number): void {
  const speed = (name: string): number =>
    dataBytes / 1024 ** 2 / median(runs.get(name)!.map(({ firstS }) => firstS));
  printTable(
    'A disk read over NBD by nbdcopy (data bytes, holes skipped)',
    ['server', 'seconds', 'MiB/s', 'read again, seconds', 'private MiB'],
    [...runs].map(([name, readings]) => [
      name,
      median(readings.map(({ firstS }) => firstS)).toFixed(2),
      Math.round(speed(name)).toString(),
      median(readings.map(({ againS }) => againS)).toFixed(2),
      mebibytes(Math.max(...readings.map(({ peakBytes }) => peakBytes))),
    ]),
  );
  const own = speed('holdfast serve');
  const raw = own / speed('qemu-nbd, raw');
  const qcow2 = own / speed('qemu-nbd, qcow2 zstd');
  printNote(
    `Of qemu-nbd’s speed: ${raw.toFixed(2)}× of raw, ${qcow2.toFixed(2)}× of compressed qcow2 (target ≥ 0.5×: ${raw >= 0.5 ? 'met' : 'missed for raw'}).`,
  );
}
