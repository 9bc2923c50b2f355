/** Says that a VM's name is taken before anything is made for it. */
import { HoldfastError } from '#base';
import type { Hypervisor } from '#hypervisor';

/** @throws {HoldfastError} `VmExists`. */
export async function refuseTaken({
  hypervisor,
  name,
}: {
  readonly hypervisor: Hypervisor;
  readonly name: string;
}): Promise<void> {
  const taken = (await hypervisor.list()).some((vm) => vm.name === name);
  if (!taken) return;
  throw new HoldfastError('VmExists', `there is a VM ${name} already: choose another name`, {
    details: { vm: name },
  });
}
