/**
 * What a recovery point's manifest keeps of the VM: its definition, and for each disk how it was tracked, so
 * that the next backup knows which bitmap it may trust. Plain JSON; files in base64.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { HoldfastError } from '#base';
import type { GuestOs, Vm, VmDefinition } from '#hypervisor';

/** How a disk's changes were found, in the words of the command line. */
export type DiskTracking = 'bitmap' | 'compare' | 'initial';

export type NotedDisk = {
  readonly name: string;
  readonly format: string;
  readonly tracking: DiskTracking;
  /** Of the image when the bitmap of this point began (`PreparedDisk.fingerprint`). */
  readonly fingerprint: string;
  /** The audit found a change that the bitmap did not know. */
  readonly isSuspect: boolean;
  /**
   * How many increments in a row, up to this one, held only what the bitmap counted, so that nothing could audit
   * it; absent: none.
   */
  readonly unaudited?: number;
};

export type VmNote = {
  readonly definition: VmDefinition;
  readonly disks: readonly NotedDisk[];
  /** Disks of the VM that are not in the point. */
  readonly excluded: readonly string[];
  /** Of a safety point: the point that the VM was then put back to. */
  readonly safetyBefore?: string;
  /** What its agent said that the guest is; absent: nobody knows. */
  readonly guestOs?: GuestOs;
  /** Absent: the point was taken alone. */
  readonly group?: PointGroup;
};

/** Points that were taken at one instant, each of one item. */
export type PointGroup = {
  /** Of the consistency group, or of this set where it has none. */
  readonly id: string;
  /** All of them, in the order in which they were asked for. */
  readonly points: readonly { readonly item: string; readonly point: string }[];
};

const VERSION = 1;
/** UEFI variables are 64 KiB to 4 MiB, TPM state less. */
const MOST_FILE_BYTES = 64 * 1024 * 1024;

type JsonFile = { readonly role: string; readonly path: string; readonly content: string };

/** @throws {HoldfastError} `ArgumentInvalid` if a file of the definition is above 64 MiB. */
export function vmNoteToJson(note: VmNote): unknown {
  const { definition, disks, excluded, safetyBefore, guestOs, group } = note;
  const files = definition.files.map(({ role, path, content }): JsonFile => {
    if (content.length > MOST_FILE_BYTES) {
      throw new HoldfastError('ArgumentInvalid', `${path} is too large to be kept with the point`, {
        details: { path, sizeBytes: content.length },
      });
    }
    return { role, path, content: gzipSync(content).toString('base64') };
  });
  return {
    version: VERSION,
    definition: { ...definition, files },
    disks,
    excluded,
    ...(safetyBefore === undefined ? {} : { safetyBefore }),
    ...(guestOs === undefined ? {} : { guestOs }),
    ...(group === undefined ? {} : { group }),
  };
}

/** `VmNote.safetyBefore` of a point, whichever version wrote it. */
export function safetyBeforeOf(value: unknown): string | undefined {
  return (value as { readonly safetyBefore?: string } | undefined)?.safetyBefore;
}

/** `VmNote.group` of a point, whichever version wrote it. */
export function groupOf(value: unknown): PointGroup | undefined {
  return (value as { readonly group?: PointGroup } | undefined)?.group;
}

/**
 * The note of a point; undefined: its disks were backed up without a VM.
 *
 * @throws {HoldfastError} `FormatUnsupported` if a newer Holdfast wrote it.
 */
export function vmNoteFromJson(value: unknown): VmNote | undefined {
  if (value === undefined) return undefined;
  const { version, definition, disks, excluded, safetyBefore, guestOs, group } = value as {
    readonly version: number;
    readonly definition: Omit<VmDefinition, 'files'> & { readonly files: readonly JsonFile[] };
    readonly disks: readonly NotedDisk[];
    readonly excluded: readonly string[];
    readonly safetyBefore?: string;
    readonly guestOs?: GuestOs;
    readonly group?: PointGroup;
  };
  if (version !== VERSION) {
    throw new HoldfastError(
      'FormatUnsupported',
      `the VM of this point is described in version ${version}, which a newer Holdfast wrote`,
    );
  }
  const files = definition.files.map((file) => ({
    role: file.role as VmDefinition['files'][number]['role'],
    path: file.path,
    content: gunzipSync(Buffer.from(file.content, 'base64'), { maxOutputLength: MOST_FILE_BYTES }),
  }));
  return {
    definition: { ...definition, files },
    disks,
    excluded,
    ...(safetyBefore === undefined ? {} : { safetyBefore }),
    ...(guestOs === undefined ? {} : { guestOs }),
    ...(group === undefined ? {} : { group }),
  };
}

/** Names of the VM's disks that `chosen` leaves out. */
export function excludedDisks(vm: Vm, chosen: readonly string[]): string[] {
  return vm.disks.map(({ name }) => name).filter((name) => !chosen.includes(name));
}
