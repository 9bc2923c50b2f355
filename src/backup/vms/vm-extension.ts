/** The backup extension in the guest of a VM (rule R51). */
import { HoldfastError, isHoldfastError, orCancelled, toldElsewhere, type Clock } from '#base';
import {
  guestExtension,
  type ExtensionAction,
  type ExtensionState,
  type Hypervisor,
} from '#hypervisor';

/**
 * Looks at the extension, installs or removes it. A backup of the running VM installs it by itself.
 *
 * @throws {HoldfastError} `VmNotFound`; `AgentUnavailable` if the VM does not run or has no agent; `Cancelled`: what
 *   was begun in the guest may go on, and the next look tells.
 */
export async function vmExtension(request: {
  readonly hypervisor: Hypervisor;
  readonly vm: string;
  readonly action: ExtensionAction;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}): Promise<ExtensionState> {
  const { hypervisor, vm, action, clock, signal } = request;
  const { name, state } = await hypervisor.find(vm);
  const channel = state === 'running' ? await hypervisor.agent(name) : undefined;
  if (channel === undefined) {
    const why =
      state === 'running'
        ? 'has no channel to its guest agent that is known: give it the virtio serial port org.qemu.guest_agent.0, and with qmp: name its socket (agent=PATH)'
        : `is ${state}: its extension is seen through the guest agent, so only while it runs`;
    throw new HoldfastError('AgentUnavailable', `${name} ${why}`, { details: { vm: name } });
  }
  try {
    return await orCancelled(guestExtension(channel, { action, clock }), signal);
  } catch (error) {
    if (!isHoldfastError(error, 'AgentUnavailable')) throw error;
    throw new HoldfastError(
      'AgentUnavailable',
      `${error.message}: see that qemu-guest-agent is installed and runs in ${name}`,
      { cause: error, details: { ...error.details, vm: name } },
    );
  } finally {
    const closing = channel.close();
    // An answer that nobody waits for any more.
    if (signal?.aborted === true) void toldElsewhere(closing);
    else await closing;
  }
}
