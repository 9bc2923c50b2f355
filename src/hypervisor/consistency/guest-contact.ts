/** The first look at a guest, which changes nothing in it: so it may begin before it is known that a backup will. */
import { isHoldfastError, type Clock, toldElsewhere } from '#base';
import type { AgentChannel } from '../agent/agent-channel.ts';
import { GuestAgent } from '../agent/guest-agent.ts';
import { findExtension, type InstalledExtension } from '../extension/extension.ts';

export type GuestContact = {
  /** Monotonic: when it began to be asked. */
  readonly begunMs: number;
  readonly agent: GuestAgent;
  /** Rejects with `AgentUnavailable` or `AgentFailed`; whoever quiesces the guest reports it. */
  readonly found: Promise<{
    /** The extension, where it is whole; undefined: it must be installed, or could not be looked at. */
    readonly extension: InstalledExtension | undefined;
  }>;
};

/** Begins to ask; the channel stays the caller's to close. */
export function contactGuest(channel: AgentChannel, clock: Clock): GuestContact {
  const agent = new GuestAgent(channel, clock);
  const begunMs = clock.monotonicMs();
  const found = look(agent);
  void toldElsewhere(found); // Given to whoever quiesces, if anybody does.
  return { begunMs, agent, found };
}

async function look(agent: GuestAgent): GuestContact['found'] {
  await agent.ping();
  // Frozen, it answers nothing else.
  if ((await agent.freezeStatus()) === 'frozen') return { extension: undefined };
  await agent.osInfo();
  try {
    return { extension: await findExtension(agent) };
  } catch (error) {
    if (!isHoldfastError(error, 'AgentFailed')) throw error;
    return { extension: undefined }; // Its installation meets the same, and reports it.
  }
}
