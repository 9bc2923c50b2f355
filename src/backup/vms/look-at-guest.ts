/** Whether a VM's guest agent answers now, and what backups have put into the guest. */
import type { Clock } from '#base';
import { lookIntoGuest, type Hypervisor, type Vm } from '#hypervisor';

/** Undefined: the VM does not run, or has no channel to an agent. */
export type GuestSight = Awaited<ReturnType<typeof lookIntoGuest>> | undefined;

/** As `--connect` users wait: an agent answers within milliseconds. */
const PATIENCE_MS = 3000;

/** Takes at most some seconds; a guest that does not answer is no error. */
export async function lookAtGuest(
  hypervisor: Hypervisor,
  { vm, clock }: { readonly vm: Vm; readonly clock: Clock },
): Promise<GuestSight> {
  if (vm.state !== 'running') return undefined;
  const channel = await hypervisor.agent(vm.name);
  if (channel === undefined) return undefined;
  try {
    return await lookIntoGuest(channel, { clock, timeoutMs: PATIENCE_MS });
  } finally {
    await channel.close();
  }
}
