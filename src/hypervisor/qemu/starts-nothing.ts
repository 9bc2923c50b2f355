/** QMP speaks to a QEMU that runs: through it no VM can be made or started. */
import { HoldfastError } from '#base';
import type { VmCreation } from '../vm-creation.ts';

export const startsNothing: VmCreation = {
  define: refuse,
  start: refuse,
  powerOff: refuse,
  undefine: refuse,
  replaceDisks: refuse,
  moveToImage: refuse,
};

async function refuse(): Promise<never> {
  await Promise.resolve();
  throw new HoldfastError(
    'DefinitionUnsupported',
    'through a QMP socket no VM can be made or changed: restore to libvirt, or restore the disks and start QEMU',
  );
}
