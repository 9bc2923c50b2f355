/** How busy a guest is (R44), asked through its agent without changing anything in it. */
import type { Clock } from '#base';
import type { AgentChannel } from '../agent/agent-channel.ts';
import { GuestAgent } from '../agent/guest-agent.ts';
import { linuxLoad } from './linux-load.ts';
import { windowsLoad } from './windows-load.ts';

/** What is in use, as shares from 0 to 1; undefined: the guest does not tell. */
export type GuestLoad = {
  /** Of all CPUs, over half a second. Time that the host took away counts: the guest had use for it. */
  readonly cpu: number | undefined;
  /** What could not be given to a program without swapping. */
  readonly memory: number | undefined;
};

export type LoadQuestion = { readonly clock: Clock; readonly signal?: AbortSignal | undefined };

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
