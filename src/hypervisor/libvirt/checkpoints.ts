/**
 * libvirt's checkpoints: a name, and for each disk in it a persistent bitmap of the same name in its image.
 *
 * Every bitmap records from its own start to now, whatever other checkpoints there are (libvirt 6.10 and later):
 * deleting a checkpoint drops its bitmaps and changes no other. So a failed backup is undone by deleting the
 * new one, and a committed one ends by deleting the old.
 *
 * Metadata and bitmaps can part: a VM that was undefined and defined again has the bitmaps without the
 * metadata (`adoptCheckpoint`); one whose image was replaced has the metadata without the bitmap.
 */
import { isHoldfastError } from '#base';
import { attribute, buildXml, child, children, formatXml, parseXml } from './xml.ts';
import type { Virsh } from './virsh.ts';
import { withXmlFile } from './xml-file.ts';

/** What is needed to speak of a domain's checkpoints. */
export type CheckpointScope = {
  readonly virsh: Virsh;
  readonly uuid: string;
};

export type Checkpoint = {
  readonly name: string;
  /** The disks that it has a bitmap for. */
  readonly disks: readonly string[];
  /** Those of them whose bitmap is there, consistent and recording. None while the VM is off. */
  readonly validDisks: ReadonlySet<string>;
  /** Of those, how many bytes were written since. */
  readonly dirtyBytes: ReadonlyMap<string, number>;
};

export async function checkpointNames({ virsh, uuid }: CheckpointScope): Promise<string[]> {
  const output = await virsh.run(['checkpoint-list', uuid, '--name']);
  return output.split('\n').filter((line) => line !== '');
}

/** Asks QEMU for the bitmaps, by the size that libvirt gives only of valid ones, if the VM runs. */
export async function readCheckpoint(
  scope: CheckpointScope,
  name: string,
  { isRunning = true }: { readonly isRunning?: boolean } = {},
): Promise<Checkpoint> {
  const args = ['checkpoint-dumpxml', scope.uuid, name, '--no-domain'];
  const xml = await scope.virsh.run(isRunning ? [...args, '--size'] : args);
  const tracked = children(child(parseXml(xml, 'domaincheckpoint'), 'disks'), 'disk').filter(
    (disk) => attribute(disk, 'checkpoint') === 'bitmap',
  );
  const nameOf = (disk: (typeof tracked)[number]): string => attribute(disk, 'name') ?? '';
  const valid = tracked.filter((disk) => attribute(disk, 'size') !== undefined);
  return {
    name,
    disks: tracked.map(nameOf),
    validDisks: new Set(valid.map(nameOf)),
    dirtyBytes: new Map(valid.map((disk) => [nameOf(disk), Number(attribute(disk, 'size'))])),
  };
}

/** The XML of a new checkpoint: of these disks, and no others. */
export function checkpointXml(checkpoint: {
  readonly name: string;
  readonly disks: readonly string[];
}): string {
  return buildXml({
    name: 'domaincheckpoint',
    content: [
      { name: 'name', content: checkpoint.name },
      {
        name: 'disks',
        content: checkpoint.disks.map((name) => ({
          name: 'disk',
          attributes: { name, checkpoint: 'bitmap' },
        })),
      },
    ],
  });
}

/**
 * Deletes a checkpoint and its bitmaps, whatever state they are in. The VM must run.
 *
 * @returns false if bitmaps of it may be left in images, because some are gone and libvirt deletes all or
 *   none; they cost a little space and are in nobody's way.
 */
export async function deleteCheckpoint(scope: CheckpointScope, name: string): Promise<boolean> {
  const { virsh, uuid } = scope;
  try {
    await virsh.run(['checkpoint-delete', uuid, name]);
    return true;
  } catch (error) {
    if (isMissingCheckpoint(error)) return true;
    if (!isMissingBitmap(error)) throw error;
  }
  const { disks, validDisks } = await readCheckpoint(scope, name);
  if (validDisks.size > 0) {
    await redefine(scope, { name, disks: Array.from(validDisks), isValidated: false });
    await virsh.run(['checkpoint-delete', uuid, name]);
  } else {
    await virsh.run(['checkpoint-delete', uuid, name, '--metadata']);
  }
  return validDisks.size + 1 >= disks.length;
}

/** Has libvirt forget a checkpoint, whatever became of its bitmaps: all that it can do while the VM is off. */
export async function forgetCheckpoint(
  { virsh, uuid }: CheckpointScope,
  name: string,
): Promise<void> {
  try {
    await virsh.run(['checkpoint-delete', uuid, name, '--metadata']);
  } catch (error) {
    if (!isMissingCheckpoint(error)) throw error;
  }
}

/**
 * Makes the checkpoint to bitmaps that lie in images without one.
 *
 * @returns false if a bitmap is not there or broken: nothing has changed then.
 */
export async function adoptCheckpoint(
  scope: CheckpointScope,
  checkpoint: { readonly name: string; readonly disks: readonly string[] },
): Promise<boolean> {
  try {
    await redefine(scope, { ...checkpoint, isValidated: true });
    return true;
  } catch (error) {
    if (isHoldfastError(error) && /missing or broken bitmap/.test(error.message)) return false;
    throw error;
  }
}

/** Removes bitmaps that lie in images without a checkpoint, valid or broken. */
export async function deleteStrayBitmaps(
  scope: CheckpointScope,
  checkpoint: { readonly name: string; readonly disks: readonly string[] },
): Promise<boolean> {
  await redefine(scope, { ...checkpoint, isValidated: false });
  return await deleteCheckpoint(scope, checkpoint.name);
}

async function redefine(
  scope: CheckpointScope,
  checkpoint: {
    readonly name: string;
    readonly disks: readonly string[];
    readonly isValidated: boolean;
  },
): Promise<void> {
  const { virsh, uuid } = scope;
  const domain = parseXml(await virsh.run(['dumpxml', uuid, '--inactive']), 'domain');
  const xml = buildXml({
    name: 'domaincheckpoint',
    content: [
      { name: 'name', content: checkpoint.name },
      // libvirt wants a time; ours are ordered by the point in their name.
      { name: 'creationTime', content: '0' },
      {
        name: 'disks',
        content: checkpoint.disks.map((disk) => ({
          name: 'disk',
          attributes: { name: disk, checkpoint: 'bitmap', bitmap: checkpoint.name },
        })),
      },
    ],
  }).replace('</domaincheckpoint>', `${formatXml(domain)}</domaincheckpoint>`);
  const flags = checkpoint.isValidated ? ['--redefine-validate'] : [];
  await withXmlFile(xml, async (path) => {
    await virsh.run(['checkpoint-create', uuid, path, '--redefine', ...flags]);
  });
}

function isMissingBitmap(error: unknown): boolean {
  return isHoldfastError(error) && /bitmap '.*' not found/.test(error.message);
}

function isMissingCheckpoint(error: unknown): boolean {
  return isHoldfastError(error) && /no domain checkpoint with matching name/.test(error.message);
}
