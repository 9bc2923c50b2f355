/** The backup extension of a guest through its agent's channel, for whoever only wants to look at it or be rid of it. */
import type { Clock } from '#base';
import type { AgentChannel } from '../agent/agent-channel.ts';
import { GuestAgent } from '../agent/guest-agent.ts';
import {
  ensureExtension,
  lookAtExtension,
  uninstallExtension,
  type ExtensionState,
} from './extension.ts';

export type ExtensionAction = 'look' | 'install' | 'uninstall';

/**
 * Does what is asked and looks at what is there then.
 *
 * @throws {HoldfastError} `AgentUnavailable`; `AgentFailed` where it cannot be installed or removed.
 */
export async function guestExtension(
  channel: AgentChannel,
  { action, clock }: { readonly action: ExtensionAction; readonly clock: Clock },
): Promise<ExtensionState> {
  const agent = new GuestAgent(channel, clock);
  if (action === 'install') await ensureExtension(agent, clock);
  if (action === 'uninstall') await uninstallExtension(agent);
  return await lookAtExtension(agent);
}
