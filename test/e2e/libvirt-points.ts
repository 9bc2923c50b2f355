/** What a caller of the contract keeps and checks around backups of a libvirt guest: points, copies, changes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { isHoldfastError } from '#base';
import type { PreparedBackup, Snapshot, TrackingBase } from '#hypervisor';
import { tool, virsh, type LibvirtGuest } from './libvirt-guest.ts';

export const REPOSITORY = '0123456789abcdef0123456789abcdef';
const WRITER =
  'while :; do dd if=/dev/urandom of=$d bs=64k count=1 conv=notrunc seek=$((n * 37 % 480)); n=$((n + 1)); done';

/** What the caller of the contract keeps: the points so far, by disk, newest first. */
export class Points {
  readonly bases = new Map<string, TrackingBase[]>();
  readonly warnings: string[] = [];
  #next: number;
  /** Items of the same repository. */
  readonly #others: Points[] = [];

  constructor(first = 100_000_000_000_000) {
    this.#next = first;
  }

  /** Another item of the same repository. */
  otherItem(): Points {
    const other = new Points(this.#next + 100_000);
    other.#others.push(this);
    this.#others.push(other);
    return other;
  }

  /** The newest point of each disk of other items. */
  get otherBases(): ReadonlySet<string> {
    const lists = this.#others.flatMap(({ bases }) => [...bases.values()]);
    return new Set(lists.flatMap(([newest]) => newest?.point ?? []));
  }

  async prepare(
    { hypervisor, name }: LibvirtGuest,
    scratchDir: string,
    disks?: readonly string[],
  ): Promise<PreparedBackup & { readonly point: string }> {
    const point = String((this.#next += 1));
    const prepared = await hypervisor.prepare({
      vm: name,
      ...(disks === undefined ? {} : { disks }),
      tracking: {
        repositoryId: REPOSITORY,
        point,
        bases: this.bases,
        otherBases: this.otherBases,
        blockSize: 16_384,
      },
      scratchDir,
      warn: (message) => this.warnings.push(message),
    });
    return { ...prepared, point };
  }

  commit({ point, disks }: PreparedBackup & { readonly point: string }): void {
    for (const { name, fingerprint } of disks) {
      this.bases.set(name, [{ point, fingerprint }, ...(this.bases.get(name) ?? [])]);
    }
  }
}

export async function copies(
  snapshot: Snapshot,
  folder: string,
  label: string,
): Promise<Map<string, string>> {
  await mkdir(folder, { recursive: true });
  const paths = new Map<string, string>();
  for (const { name, location, sizeBytes, format } of await snapshot.disks()) {
    const path = join(folder, `${label}-${name}.raw`);
    if (location.startsWith('nbd')) await tool('nbdcopy', location, path);
    else await tool('qemu-img', 'convert', '-f', format ?? 'raw', '-O', 'raw', location, path);
    const file = await open(path, 'r');
    assert.equal((await file.stat()).size, sizeBytes);
    await file.close();
    paths.set(name, path);
  }
  return paths;
}

/** Writes the dirty extents of `now` over `before`: what an increment does. */
export async function applyDirty(
  snapshot: Snapshot,
  before: Map<string, string>,
  now: Map<string, string>,
) {
  for (const { name, dirty } of await snapshot.disks()) {
    if (dirty === undefined) continue;
    const from = await open(now.get(name)!, 'r');
    const to = await open(before.get(name)!, 'r+');
    for (const { offset, length } of dirty) {
      const bytes = Buffer.alloc(length);
      await from.read(bytes, 0, length, offset);
      await to.write(bytes, 0, length, offset);
    }
    await Promise.all([from.close(), to.close()]);
  }
}

export function trackingOf(prepared: PreparedBackup): Record<string, string> {
  return Object.fromEntries(
    prepared.disks.map(({ name, tracking }) => [
      name,
      tracking.kind === 'compare' ? tracking.reason : tracking.kind,
    ]),
  );
}

export async function checkpoints(guest: { readonly name: string }): Promise<string[]> {
  const output = await virsh('checkpoint-list', guest.name, '--name');
  return output.split('\n').filter((line) => line !== '');
}

export function nameOf(point: string): string {
  return `holdfast-${REPOSITORY}-${point}`;
}

export async function isRefused(
  refused: Promise<unknown>,
  code: string,
  message: RegExp,
): Promise<void> {
  await assert.rejects(refused, (error) => {
    assert.ok(isHoldfastError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

export async function startWriters(guest: LibvirtGuest, devices: readonly string[]): Promise<void> {
  for (const device of devices) {
    await guest.sh(`d=/dev/${device}; n=0; (${WRITER}) >/dev/null 2>&1 </dev/null &`);
  }
}

/** A full backup, committed. */
export async function takeFull(points: Points, guest: LibvirtGuest): Promise<string> {
  const prepared = await points.prepare(guest, join(guest.folder, 's'));
  const snapshot = await prepared.snapshot();
  await snapshot.release('committed');
  points.commit(prepared);
  return prepared.point;
}

/** As it is left by a process that was killed while it read its snapshot. */
export async function killedBackup(
  points: Points,
  guest: LibvirtGuest,
  scratch: string,
): Promise<void> {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      join(import.meta.dirname, 'libvirt-backup-child.ts'),
      guest.name,
      scratch,
      REPOSITORY,
      '100000000000900',
      JSON.stringify(Object.fromEntries(points.bases)),
      JSON.stringify([...points.otherBases]),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const ended = once(child, 'close');
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(said.toString(), 'taken\n');
  child.kill('SIGKILL');
  await ended;
}
