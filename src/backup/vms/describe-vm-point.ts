/** What a recovery point of a VM says of itself. */
import { bootSecurity, type BootSecurity } from '#hypervisor';
import { readManifest, type Repository } from '#repository';
import type { PointGroup } from './vm-note.ts';
import { vmPoint } from './vm-point.ts';

export type VmPointDescription = {
  readonly point: string;
  readonly item: string;
  readonly timeMs: number;
  readonly consistency: string;
  readonly vm: {
    readonly name: string;
    readonly state: string;
    /** As its guest's agent said; absent: nobody knows. */
    readonly osFamily?: 'linux' | 'windows';
    readonly bootSecurity: BootSecurity;
  };
  /** In the VM's order: its place there, and bytes. */
  readonly disks: readonly {
    readonly name: string;
    readonly place: number;
    readonly sizeBytes: number;
    readonly changedBytes: number;
    readonly storedBytes: number;
  }[];
  /** Disks that the VM had and the point has not, with their place. `refusal`: why it could not be backed up. */
  readonly lacking: readonly {
    readonly name: string;
    readonly place: number;
    readonly sizeBytes: number;
    readonly refusal?: string | undefined;
  }[];
  /** Absent: it was taken alone. */
  readonly group?: PointGroup;
};

/** @throws {HoldfastError} `PointNotFound`; `DefinitionUnsupported` if it holds disks without a VM. */
export async function describeVmPoint(
  repository: Repository,
  point: string,
): Promise<VmPointDescription> {
  const { note, lacking } = await vmPoint(repository, point);
  const manifest = await readManifest(repository.parts, repository.state.points.get(point)!);
  const { definition, guestOs } = note;
  const { vm } = definition;
  const order = vm.disks.map(({ name }) => name);
  const placed = <Named extends { readonly name: string }>(named: Named) => ({
    ...named,
    place: order.indexOf(named.name),
  });
  return {
    point,
    item: manifest.item,
    timeMs: manifest.timeMs,
    consistency: manifest.consistency,
    vm: {
      name: vm.name,
      state: vm.state,
      // An agent that cannot tell says nothing.
      ...(guestOs === undefined || guestOs.id === '' ? {} : { osFamily: guestOs.family }),
      bootSecurity: bootSecurity(definition),
    },
    disks: manifest.disks
      .map(({ name, sizeBytes, changedBytes, storedBytes }) =>
        placed({ name, sizeBytes, changedBytes, storedBytes }),
      )
      .toSorted((a, b) => a.place - b.place),
    lacking: lacking.map((lacked) => {
      const { name, sizeBytes, refusal } = vm.disks.find((disk) => disk.name === lacked)!;
      return placed({ name, sizeBytes, refusal });
    }),
    ...(note.group === undefined ? {} : { group: note.group }),
  };
}
