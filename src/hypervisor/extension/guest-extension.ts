/** The backup extension of a guest through its agent's channel, for whoever only wants to look at it or be rid of it. */
import { isHoldfastError, type Clock } from '#base';
import type { AgentChannel } from '../agent/agent-channel.ts';
import { GuestAgent } from '../agent/guest-agent.ts';
import {
  ensureExtension,
  lookAtExtension,
  uninstallExtension,
  type ExtensionState,
} from './extension.ts';

export type GuestLook =
  | { readonly agent: 'silent'; readonly reason: string }
  /** Frozen: it answers nothing else, so the extension is not seen. */
  | {
      readonly agent: 'answers';
      readonly isFrozen: boolean;
      /** Undefined: it is not known. */
      readonly extension: ExtensionState | undefined;
    };

export type ExtensionAction = 'look' | 'install' | 'uninstall';

/**
 * Whether the agent answers within `timeoutMs`, and the extension if it tells of it within as long again. Changes
 * nothing, and never fails because of the guest.
 */
export async function lookIntoGuest(
  channel: AgentChannel,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<GuestLook> {
  const agent = new GuestAgent(channel, clock);
  try {
    await agent.ping(timeoutMs);
    if ((await agent.freezeStatus(timeoutMs)) === 'frozen') {
      return { agent: 'answers', isFrozen: true, extension: undefined };
    }
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    if (error.code === 'AgentUnavailable') return { agent: 'silent', reason: error.message };
    if (error.code !== 'AgentFailed') throw error; // An agent that cannot freeze is one all the same.
  }
  const ended = new AbortController();
  const look = lookAtExtension(agent).catch((error: unknown) => {
    if (!isHoldfastError(error)) throw error;
    return undefined; // An agent that may run no commands, or has stopped answering, tells nothing of it.
  });
  const limit = clock.sleep(timeoutMs, ended.signal).then(
    () => undefined,
    () => undefined, // Cut short below.
  );
  const extension = await Promise.race([look, limit]);
  ended.abort();
  return { agent: 'answers', isFrozen: false, extension };
}

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
