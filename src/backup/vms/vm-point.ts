/** A recovery point as the VM that it can become again: its definition, its disks, and what to name them. */
import { join } from 'node:path';
import { HoldfastError } from '#base';
import type { NewVmDisk, VmDefinition } from '#hypervisor';
import { readManifest, type Repository } from '#repository';
import { disksOf, type PointDisk } from '../point-disks.ts';
import { restoredImageName } from './restore-names.ts';
import { vmNoteFromJson, type VmNote } from './vm-note.ts';

export type VmPoint = {
  readonly point: string;
  readonly item: string;
  readonly note: VmNote;
  /** In the order of the VM. */
  readonly disks: readonly PointDisk[];
  /** Names of disks that the VM had and the point has not. */
  readonly lacking: readonly string[];
};

/** @throws {HoldfastError} `PointNotFound`; `DefinitionUnsupported` if its disks were backed up without a VM. */
export async function vmPoint(repository: Repository, point: string): Promise<VmPoint> {
  const disks = disksOf(repository, point);
  const known = repository.state.points.get(point)!;
  const manifest = await readManifest(repository.parts, known);
  const note = vmNoteFromJson(manifest.vm);
  if (note === undefined) {
    throw new HoldfastError(
      'DefinitionUnsupported',
      `the recovery point ${point} holds disks without a VM: restore them with holdfast repo restore`,
      { details: { point } },
    );
  }
  const order = note.definition.vm.disks.map(({ name }) => name);
  const sorted = disks.toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  const lacking = order.filter((name) => !disks.some((disk) => disk.name === name));
  return { point, item: manifest.item, note, disks: sorted, lacking };
}

export function definitionOf({ note }: VmPoint): VmDefinition {
  return note.definition;
}

/**
 * The disks of these names (rule R73: the one that the VM boots from is always among them), or all.
 *
 * @throws {HoldfastError} `DiskNotFound`.
 */
export function selectedDisks(
  { disks, point, note }: VmPoint,
  names: readonly string[] | undefined,
): readonly PointDisk[] {
  const bootDisk = note.definition.vm.disks[0]?.name;
  if (names === undefined) return disks;
  const stranger = names.find((name) => !disks.some((disk) => disk.name === name));
  if (stranger !== undefined) {
    const there = disks.map(({ name }) => name).join(', ');
    throw new HoldfastError(
      'DiskNotFound',
      `the recovery point ${point} has no disk ${stranger}: it has ${there}`,
      { details: { point, disk: stranger } },
    );
  }
  return disks.filter(({ name }) => name === bootDisk || names.includes(name));
}

/** Where the images of the disks go in `directory`. */
export function newImages(
  { note }: VmPoint,
  chosen: readonly PointDisk[],
  place: {
    readonly directory: string;
    readonly vm: string;
    readonly timeMs: number;
    /** Absent: raw what was raw, all else qcow2. */
    readonly format?: 'qcow2' | undefined;
  },
): NewVmDisk[] {
  return chosen.map(({ name }) => {
    const wasRaw = note.disks.find((noted) => noted.name === name)?.format === 'raw';
    const format = place.format ?? (wasRaw ? 'raw' : 'qcow2');
    const disk = note.definition.vm.disks.findIndex((other) => other.name === name);
    const file = restoredImageName({ vm: place.vm, disk, timeMs: place.timeMs });
    return { name, path: join(place.directory, `${file}.${format}`), format };
  });
}
