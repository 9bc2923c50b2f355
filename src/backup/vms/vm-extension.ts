/** The backup extension in the guest of a VM (rule R51). */
import { HoldfastError, type Clock } from '#base';
import {
  guestExtension,
  type ExtensionAction,
  type ExtensionState,
  type Hypervisor,
} from '#hypervisor';

/**
 * Looks at the extension, installs or removes it. A backup of the running VM installs it by itself.
 *
 * @throws {HoldfastError} `VmNotFound`; `AgentUnavailable` if the VM does not run or has no agent.
 */
export async function vmExtension(request: {
  readonly hypervisor: Hypervisor;
  readonly vm: string;
  readonly action: ExtensionAction;
  readonly clock: Clock;
}): Promise<ExtensionState> {
  const { hypervisor, vm, action, clock } = request;
  const { name, state } = await hypervisor.find(vm);
  const channel = state === 'running' ? await hypervisor.agent(name) : undefined;
  if (channel === undefined) {
    const why = state === 'running' ? 'has no channel to a guest agent' : `is ${state}`;
    throw new HoldfastError('AgentUnavailable', `${name} ${why}: its extension cannot be seen`, {
      details: { vm: name },
    });
  }
  try {
    return await guestExtension(channel, { action, clock });
  } finally {
    await channel.close();
  }
}
