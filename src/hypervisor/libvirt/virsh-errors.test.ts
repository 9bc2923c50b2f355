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
  ['error: Unable to read from monitor: Connection reset by peer', 'HypervisorFailed'],
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

test('a daemon that is not reached, or does not want us, is said with what to do and its own words', () => {
  const context = { uri: 'qemu:///system', command: 'uri' };
  const absent = virshError(
    "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory",
    context,
  );
  assert.match(
    absent.message,
    /^libvirt does not answer at qemu:\/\/\/system \(socket \/run\/libvirt\/libvirt-sock\): start .*virtqemud.*; libvirt says: failed to connect/,
  );
  for (const complaint of [
    "error: Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied",
    "error: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'",
    'error: internal error: Unable to get system bus connection: Could not connect: No such file or directory',
  ]) {
    const error = virshError(complaint, context);
    assert.equal(error.code, 'HypervisorUnavailable');
    assert.match(error.message, /^this user may not use libvirt at .* group "libvirt"/);
    assert.doesNotMatch(error.message, /AppArmor/);
  }
});

test('a path that QEMU may not use says where to look', () => {
  const complaint = 'error: internal error: Failed to bind socket to /srv/x: Permission denied';
  const error = virshError(complaint, { uri: 'qemu:///system', command: 'backup-begin' });
  assert.match(error.message, /AppArmor/);
});
