/**
 * The guest agent through libvirt, which owns its socket, keeps it in step and gives one client at a time its
 * turn. `virsh` counts time in whole seconds: we end it ourselves at the exact one.
 */
import { HoldfastError, isHoldfastError } from '#base';
import type { AgentChannel } from '../agent/agent-channel.ts';
import type { Virsh } from './virsh.ts';

/** By which virsh gives up before we end it, so that libvirt is not left waiting. */
const SLACK_MS = 1500;

export function libvirtAgent(virsh: Virsh, uuid: string): AgentChannel {
  let last: Promise<unknown> = Promise.resolve();
  let isClosed = false;
  const execute: AgentChannel['execute'] = async (command, options) => {
    if (isClosed) throw new HoldfastError('AgentUnavailable', 'the agent channel was closed');
    const seconds = Math.max(1, Math.ceil(options.timeoutMs / 1000));
    const text = JSON.stringify({ execute: command, arguments: options.arguments });
    const args = ['qemu-agent-command', uuid, '--timeout', String(seconds), '--cmd', text];
    try {
      const output = await virsh.run(args, { timeoutMs: seconds * 1000 + SLACK_MS });
      return (JSON.parse(output) as { readonly return: unknown }).return;
    } catch (error) {
      throw agentError(error, { command, seconds });
    }
  };
  return {
    execute: async (command, options) => {
      const result = last.then(() => execute(command, options));
      last = Promise.allSettled([result]); // The next one waits, however this one ends.
      return await result;
    },
    close: async () => {
      isClosed = true;
      await last;
    },
  };
}

function agentError(
  error: unknown,
  { command, seconds }: { readonly command: string; readonly seconds: number },
): unknown {
  if (isHoldfastError(error, 'AgentFailed')) {
    const complaint = String(error.details['complaint'] ?? error.message);
    const [, desc = complaint] =
      /unable to execute QEMU agent command '[^']*': (.*)$/.exec(complaint) ?? [];
    return new HoldfastError('AgentFailed', `the guest agent refused ${command}: ${desc}`, {
      cause: error,
      // libvirt tells the class only where it is not the general one, and then in its own words.
      details: { command, class: agentClass(desc), desc },
    });
  }
  const isGone =
    isHoldfastError(error, 'HypervisorUnavailable') ||
    (isHoldfastError(error) &&
      /domain is not running|agent/i.test(error.message) &&
      error.code !== 'AgentUnavailable');
  if (!isGone && !isHoldfastError(error, 'AgentUnavailable')) return error;
  return new HoldfastError(
    'AgentUnavailable',
    `the guest agent did not answer ${command} within ${seconds} s`,
    { cause: error, details: { command } },
  );
}

function agentClass(desc: string): string {
  return /has not been found|has been disabled/.test(desc) ? 'CommandNotFound' : 'GenericError';
}
