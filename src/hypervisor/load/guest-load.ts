/** How busy a guest is (R44), asked through its agent without changing anything in it. */
import type { AgentChannel } from '../agent/agent-channel.ts';
import { GuestAgent } from '../agent/guest-agent.ts';
import { linuxLoad } from './linux-load.ts';
import type { GuestLoad, LoadQuestion } from './load-shares.ts';
import { windowsLoad } from './windows-load.ts';

/**
 * Takes some 600 ms; Windows, which starts a program for it, seconds. The channel stays the caller's to close.
 *
 * @throws {HoldfastError} `AgentUnavailable`; `AgentFailed` where the agent may not even say what the guest is, or
 *   is frozen; `Cancelled`.
 */
export async function guestLoad(channel: AgentChannel, question: LoadQuestion): Promise<GuestLoad> {
  const agent = new GuestAgent(channel, question.clock);
  await agent.ping();
  const { family } = await agent.osInfo();
  return family === 'windows'
    ? await windowsLoad(agent, question)
    : await linuxLoad(agent, question);
}
