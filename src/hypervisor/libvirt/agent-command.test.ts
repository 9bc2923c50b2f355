import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '#base';
import { libvirtAgent } from './agent-command.ts';
import { virshError } from './virsh-errors.ts';
import type { Virsh, VirshOptions } from './virsh.ts';

type Call = { readonly args: readonly string[]; readonly options: VirshOptions | undefined };

function scripted(answers: readonly (string | Error)[]): Virsh & { readonly calls: Call[] } {
  const calls: Call[] = [];
  return {
    uri: 'qemu:///system',
    calls,
    run: async (args, options) => {
      const answer = answers[calls.length]!;
      calls.push({ args, options });
      await Promise.resolve();
      if (typeof answer === 'string') return answer;
      throw answer;
    },
  };
}

function complaint(text: string): HoldfastError {
  return virshError(text, { uri: 'qemu:///system', command: 'qemu-agent-command' });
}

test('commands go one after the other, with whole seconds for libvirt', async () => {
  const virsh = scripted(['{"return":{"a":1}}', '{"return":7}']);
  const agent = libvirtAgent(virsh, 'uuid');
  const both = await Promise.all([
    agent.execute('guest-info', { timeoutMs: 1500 }),
    agent.execute('guest-exec', { timeoutMs: 1, arguments: { path: '/x' } }),
  ]);
  assert.deepEqual(both, [{ a: 1 }, 7]);
  assert.deepEqual(
    virsh.calls.map(({ args }) => args),
    [
      ['qemu-agent-command', 'uuid', '--timeout', '2', '--cmd', '{"execute":"guest-info"}'],
      [
        'qemu-agent-command',
        'uuid',
        '--timeout',
        '1',
        '--cmd',
        '{"execute":"guest-exec","arguments":{"path":"/x"}}',
      ],
    ],
  );
});

test('an agent that refuses, one that does not answer, a VM that is gone, a closed channel', async () => {
  const virsh = scripted([
    complaint(
      "error: internal error: unable to execute QEMU agent command 'guest-exec': Command guest-exec has been disabled: the agent is in frozen state",
    ),
    complaint('error: Guest agent is not responding: QEMU guest agent is not connected'),
    complaint('error: Requested operation is not valid: domain is not running'),
    new HoldfastError('ToolMissing', 'virsh is not installed'),
  ]);
  const agent = libvirtAgent(virsh, 'uuid');
  const execute = async (): Promise<unknown> =>
    await agent.execute('guest-exec', { timeoutMs: 1000 });
  await assert.rejects(execute, (error: HoldfastError) => {
    assert.equal(error.code, 'AgentFailed');
    assert.equal(error.details['class'], 'CommandNotFound');
    assert.match(String(error.details['desc']), /^Command guest-exec has been disabled/);
    return true;
  });
  await assert.rejects(execute, { code: 'AgentUnavailable' });
  await assert.rejects(execute, { code: 'AgentUnavailable' });
  await assert.rejects(execute, { code: 'ToolMissing' });
  await agent.close();
  await agent.close();
  await assert.rejects(execute, { code: 'AgentUnavailable' });
});
