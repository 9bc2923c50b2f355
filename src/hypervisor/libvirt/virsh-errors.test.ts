import assert from 'node:assert/strict';
import { test } from 'node:test';
import { virshError } from './virsh-errors.ts';

const CASES: readonly (readonly [string, string])[] = [
  ["error: failed to get domain 'x'", 'VmNotFound'],
  [
    "error: failed to get domain 'x'\nerror: Domain not found: no domain with matching uuid",
    'VmNotFound',
  ],
  [
    "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory",
    'HypervisorUnavailable',
  ],
  ['error: End of file while reading data: Input/output error', 'HypervisorUnavailable'],
  [
    'error: Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainBackupBegin)',
    'VmBusy',
  ],
  ["error: internal error: disk 'vda' already in active block job", 'VmBusy'],
  ['error: Guest agent is not responding: QEMU guest agent is not connected', 'AgentUnavailable'],
  [
    "error: Guest agent is not responding: guest agent didn't respond to command within '5' seconds",
    'AgentUnavailable',
  ],
  [
    "error: internal error: unable to execute QEMU agent command 'guest-x': The command guest-x has not been found",
    'AgentFailed',
  ],
  ['error: operation failed: something new', 'HypervisorFailed'],
  ['', 'HypervisorFailed'],
];

test('the complaints of virsh have the codes of what they mean', () => {
  for (const [complaint, code] of CASES) {
    const error = virshError(complaint, { uri: 'qemu:///system', command: 'backup-begin' });
    assert.equal(error.code, code, complaint);
    assert.ok(
      !error.message.includes('\n') && !/: error:|; error:/.test(error.message),
      error.message,
    );
    assert.match(error.message, /qemu:\/\/\/system/);
  }
});

test('a path that QEMU may not use says where to look', () => {
  const complaint = 'error: internal error: Failed to bind socket to /srv/x: Permission denied';
  const error = virshError(complaint, { uri: 'qemu:///system', command: 'backup-begin' });
  assert.match(error.message, /AppArmor/);
});
