/**
 * Backups of a VM that runs: Holdfast by libvirt and by QMP, virtnbdbackup plain and compressing, in turn on the same guest; the
 * commands whole, what is stored, how long the guest stands still and how much slower it writes meanwhile.
 */
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { copySparse, type Workplace } from '../measuring/workplace.ts';
import {
  median,
  mebibytes,
  medianSeconds,
  milliseconds,
  percentile,
  printNote,
  printTable,
  ratio,
  runCells,
  RUN_COLUMNS,
  tell,
} from '../measuring/tables.ts';
import {
  holdfastOn,
  mustHaveRestored,
  virtnbdbackupOn,
  type Contender,
} from '../live/contenders.ts';
import { makeGuestDisk } from '../live/guest-tools.ts';
import { startUnderLibvirt, startUnderQemu, type LiveGuest } from '../live/live-guest.ts';
import { takeTurn, type Turn, type Writing } from '../live/live-run.ts';

type Turns = ReadonlyMap<string, readonly Turn[]>;

export async function live(place: Workplace): Promise<void> {
  const { sizeGib, liveDataMib } = place.scale;
  tell(`live: a guest with ${liveDataMib} MiB of files on ${sizeGib} GiB`);
  const image = makeGuestDisk(place.folder, { gib: sizeGib, dataMib: liveDataMib });
  const other = join(place.folder, 'guest-qmp.qcow2');
  copySparse(image, other);
  const loads: number[] = [];
  const turns = new Map<string, Turn[]>();
  await onGuest(await startUnderLibvirt(image), async (guest) => {
    const contenders = [
      holdfastOn(place, guest),
      virtnbdbackupOn(place, guest, { compresses: false }),
      virtnbdbackupOn(place, guest, { compresses: true }),
    ];
    await rounds(place, { contenders, turns, loads });
  });
  await onGuest(await startUnderQemu(other), async (guest) => {
    await rounds(place, { contenders: [holdfastOn(place, guest)], turns, loads });
  });
  print(place, turns, loads);
}

async function onGuest(guest: LiveGuest, use: (guest: LiveGuest) => Promise<void>): Promise<void> {
  try {
    await use(guest);
  } finally {
    await guest.stop();
  }
}

const SAMPLE_MS = 3000;
/** A guest that rests takes a twentieth. */
const QUIET_CORES = 0.3;

type Rounds = {
  readonly contenders: readonly Contender[];
  readonly turns: Map<string, Turn[]>;
  /** Cores kept busy by others at the start of each turn. */
  readonly loads: number[];
};

async function rounds(place: Workplace, { contenders, turns, loads }: Rounds): Promise<void> {
  for (let round = 0; round < place.scale.rounds; round += 1) {
    for (const contender of contenders) {
      loads.push(await busyCores());
      const turn = await takeTurn(contender, {
        place,
        seed: 100 * round + turns.size,
        writings: place.scale.liveWritings,
        check: async (folder) => await mustHaveRestored(folder, place.scale.liveDataMib),
      });
      turns.set(contender.name, [...(turns.get(contender.name) ?? []), turn]);
    }
  }
}

async function busyCores(): Promise<number> {
  const before = busyMs();
  await sleep(SAMPLE_MS);
  return (busyMs() - before) / SAMPLE_MS;
}

function busyMs(): number {
  return cpus().reduce(
    (sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq,
    0,
  );
}

function print(place: Workplace, turns: Turns, loads: readonly number[]): void {
  const { sizeGib, liveDataMib, changedMib } = place.scale;
  const range = `${Math.min(...loads).toFixed(2)}–${Math.max(...loads).toFixed(2)}`;
  printNote(
    `${versions()}. A guest under emulation, ${liveDataMib} MiB of files asked for on ${sizeGib} GiB (qcow2). ` +
      `Cores kept busy at the start of the turns, the guest at rest: ${range}${Math.max(...loads) < QUIET_CORES ? '' : ': **preliminary, the machine was not quiet**'}.`,
  );
  const all = [...turns];
  const runs = (which: 'first' | 'next' | 'restore') =>
    all.map(([name, list]) => ({ name, list, runs: list.map((turn) => turn[which]) }));
  printTable(
    'First backup of a running VM',
    ['tool', ...RUN_COLUMNS, 'stored MiB'],
    runs('first').map(({ name, list, runs: of }) => [
      name,
      ...runCells(of),
      mebibytes(median(list.map(({ firstStored }) => firstStored))),
    ]),
  );
  printTable(
    `Next backup, after ${changedMib} MiB of scattered 4 KiB writes in the guest`,
    ['tool', ...RUN_COLUMNS, 'grown by MiB'],
    runs('next').map(({ name, list, runs: of }) => [
      name,
      ...runCells(of),
      mebibytes(median(list.map(({ nextStored }) => nextStored))),
    ]),
  );
  printTable(
    'Restore to qcow2',
    ['tool', ...RUN_COLUMNS],
    runs('restore').map(({ name, runs: of }) => [name, ...runCells(of)]),
  );
  printGuest(all);
  printTargets(turns);
}

function printGuest(all: readonly (readonly [string, readonly Turn[]])[]): void {
  printTable(
    'What the guest notices',
    [
      'tool',
      'durable writes/s, of those without a backup: first backup',
      'next backup',
      'longest time without one, ms: no backup',
      'next backup (range)',
      'frozen by its own account, ms: median',
      '95th percentile',
    ],
    all.map(([name, list]) => {
      const next = list.flatMap(({ nextWriting }) => nextWriting);
      const first = list.map(({ firstWriting }) => firstWriting);
      const gaps = next.map(({ gapMs }) => gapMs);
      const frozen = frozenTimes(list);
      return [
        name,
        share(first),
        share(next),
        median(next.map(({ idleGapMs }) => idleGapMs)).toFixed(0),
        `${median(gaps).toFixed(0)} (${Math.min(...gaps).toFixed(0)}–${Math.max(...gaps).toFixed(0)}, ${gaps.length} runs)`,
        frozen.length === 0 ? '–' : median(frozen).toFixed(0),
        frozen.length === 0 ? '–' : percentile(frozen, 95).toFixed(0),
      ];
    }),
  );
}

/** Of all backups of a guest that wrote, first ones too. */
function frozenTimes(list: readonly Turn[]): number[] {
  return list
    .flatMap(({ firstWriting, nextWriting }) => [firstWriting, ...nextWriting])
    .flatMap(({ frozenMs }) => (frozenMs === undefined ? [] : [frozenMs]));
}

function share(writings: readonly Writing[]): string {
  const idle = median(writings.map(({ idleRate }) => idleRate));
  const shares = writings.map(({ rate, idleRate }) => rate / idleRate);
  return `${(median(shares) * 100).toFixed(0)} % of ${idle.toFixed(0)}`;
}

function printTargets(turns: Turns): void {
  const seconds = (name: string, which: 'first' | 'next' | 'restore'): number =>
    medianSeconds(turns.get(name)!.map((turn) => turn[which]));
  const ofFirst = (name: string): number => seconds(name, 'next') / seconds(name, 'first');
  const own = 'holdfast, libvirt';
  const peers = ['virtnbdbackup', 'virtnbdbackup --compress'];
  const against = (which: 'first' | 'next' | 'restore'): string =>
    peers.map((peer) => `${(seconds(own, which) / seconds(peer, which)).toFixed(2)}×`).join(', ');
  const frozen = (name: string, most: number): string =>
    milliseconds(percentile(frozenTimes(turns.get(name)!), 95), { most });
  printTable(
    'Against the targets',
    ['what', 'result'],
    [
      ['next backup by QMP, of the first', ratio(ofFirst('holdfast, QMP'), { most: 0.1 })],
      ['next backup by libvirt, of the first', ratio(ofFirst(own), { most: 0.2 })],
      ['first backup by libvirt, of virtnbdbackup’s plain, compressing', against('first')],
      ['next backup by libvirt, of virtnbdbackup’s plain, compressing', against('next')],
      ['restore, of virtnbdbackup’s plain, compressing', against('restore')],
      ['frozen by QMP, 95th percentile', frozen('holdfast, QMP', 200)],
      ['frozen by libvirt, 95th percentile', frozen(own, 350)],
      [
        'longest time without a durable write, next backup by libvirt, of virtnbdbackup’s',
        gapAgainst(turns, { own, peer: peers[0]! }),
      ],
    ],
  );
}

/** Run by run: the n-th next backup of a round beside the other tool's n-th of that round. */
function gapAgainst(
  turns: Turns,
  { own, peer }: { readonly own: string; readonly peer: string },
): string {
  const gaps = (name: string): number[] =>
    turns.get(name)!.flatMap(({ nextWriting }) => nextWriting.map(({ gapMs }) => gapMs));
  const theirs = gaps(peer);
  const ratios = gaps(own).map((gap, at) => gap / theirs[at]!);
  const longer = ratios.filter((value) => value > 1).length;
  return `median of pairs ${ratio(median(ratios), { most: 1 })}, longer in ${longer} of ${ratios.length}`;
}

function versions(): string {
  const said = (program: string, pattern: RegExp): string =>
    pattern.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[1] ?? '?';
  const revision = execFileSync('git', ['-C', import.meta.dirname, 'log', '-1', '--format=%h'], {
    encoding: 'utf8',
  }).trim();
  return (
    `Holdfast ${revision}, virtnbdbackup ${said('virtnbdbackup', /(\d[\d.]+)/)}, ` +
    `QEMU ${said('qemu-system-x86_64', /version (\S+)/)}, libvirt ${said('virsh', /(\d[\d.]+)/)}`
  );
}
