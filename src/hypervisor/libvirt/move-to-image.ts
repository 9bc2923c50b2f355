/** Copies what a running VM's overlay still reads from its backing into the overlay itself: libvirt's block pull. */
import { HoldfastError, isHoldfastError, throwIfCancelled, type Clock, pause } from '#base';
import type { VmCreation } from '../vm-creation.ts';
import { blockJobOf } from './jobs.ts';
import type { Virsh } from './virsh.ts';
import { attribute, child, children, parseXml } from './xml.ts';

const POLL_MS = 200;

type Options = Parameters<VmCreation['moveToImage']>[2];
type Moved = { readonly uuid: string; readonly name: string; readonly disk: string };

/** Nothing to do where the disk has no backing. */
export async function moveToImage(
  { virsh, clock }: { readonly virsh: Virsh; readonly clock: Clock },
  moved: Moved,
  options: Options,
): Promise<void> {
  const { signal } = options;
  throwIfCancelled(signal);
  if (!(await hasBacking(virsh, moved))) return;
  // A pull that a killed Holdfast began is followed.
  if ((await blockJobOf(virsh, moved)) === undefined) {
    await virsh.run(['blockpull', moved.uuid, moved.disk]);
  }
  for (;;) {
    if (signal?.aborted === true) {
      await abort(virsh, moved);
      throwIfCancelled(signal);
    }
    const job = await blockJobOf(virsh, moved);
    if (job === undefined) break;
    options.onProgress?.({
      phase: `moving ${moved.disk}`,
      doneBytes: job.done,
      ...(job.total > 0 ? { totalBytes: job.total } : {}),
    });
    await pause(clock, POLL_MS, signal);
  }
  if (!(await hasBacking(virsh, moved))) return;
  throw new HoldfastError(
    'HypervisorFailed',
    `moving ${moved.disk} of "${moved.name}" to its image ended early: the served point failed, the target is full, or the VM was shut down. The VM still reads from the point`,
    { details: { vm: moved.name, disk: moved.disk } },
  );
}

async function abort(virsh: Virsh, { uuid, disk }: Moved): Promise<void> {
  try {
    await virsh.run(['blockjob', uuid, disk, '--abort']);
  } catch (error) {
    // It has just ended.
    const isOver =
      isHoldfastError(error) && /no active (block )?job|not active/.test(error.message);
    if (!isOver) throw error;
  }
}

async function hasBacking(virsh: Virsh, { uuid, name, disk }: Moved): Promise<boolean> {
  const domain = parseXml(await virsh.run(['dumpxml', uuid]), 'domain');
  const element = children(child(domain, 'devices'), 'disk').find(
    (one) => attribute(child(one, 'target'), 'dev') === disk,
  );
  if (element === undefined) {
    throw new HoldfastError('DiskNotFound', `"${name}" has no disk "${disk}"`, {
      details: { vm: name, disk },
    });
  }
  return child(element, 'backingStore', 'source') !== undefined;
}
