import assert from 'node:assert/strict';
import { test } from 'node:test';
import { realClock } from '#base';
import { connectLibvirt } from './connect-libvirt.ts';
import { virshOf } from './virsh.ts';

/** libvirt's own test driver: real virsh, no daemon. */
const virsh = virshOf('test:///default', realClock());

test('a command gives its output, and its complaint as an error', async () => {
  assert.match(await virsh.run(['list', '--all', '--name']), /^test$/m);
  await assert.rejects(virsh.run(['dominfo', 'nobody']), { code: 'VmNotFound' });
  await assert.rejects(virsh.run(['no-such-command']), { code: 'HypervisorFailed' });
});

test('what a command says is its own, whatever it carries and whatever was said before', async () => {
  const odd = `it's {"a": "b\\n"}; $(id) | # ${'ü'.repeat(20_000)}`;
  for (const text of [odd, '', ' ', 'B1holdfast', 'two\nlines', 'tab\there']) {
    assert.equal((await virsh.run(['echo', text])).trimEnd(), text.trimEnd());
    await assert.rejects(virsh.run(['dominfo', text || 'x']), /failed to get domain|no domain/i);
  }
  const names = Array.from({ length: 8 }, (_, at) => `name-${at}`);
  const said = await Promise.all(names.map(async (name) => await virsh.run(['echo', name])));
  assert.deepEqual(said, names);
});

test('a process that ended while nobody asked is not asked again', async () => {
  const own = virshOf('test:///default', realClock());
  await own.run(['uri']);
  own.close();
  assert.match(await own.run(['uri']), /test:/);
  own.close();
});

test('what is cancelled or late is ended', async () => {
  await assert.rejects(virsh.run(['list'], { signal: AbortSignal.abort() }), { code: 'Cancelled' });
  const stop = new AbortController();
  const waiting = virsh.run(['event', '--event', 'lifecycle', '--loop'], { signal: stop.signal });
  stop.abort();
  await assert.rejects(waiting, { code: 'Cancelled' });
  const late = virsh.run(['event', '--event', 'lifecycle', '--loop'], { timeoutMs: 50 });
  await assert.rejects(late, { code: 'HypervisorUnavailable', message: /within 0.05 s/ });
});

test('only libvirt of this machine is connected to, and only where it answers', async () => {
  for (const uri of [
    'qemu+ssh://host/system',
    'test:///default',
    'qemu://host/system',
    'qemu:///x',
  ]) {
    await assert.rejects(connectLibvirt({ uri, clock: realClock() }), { code: 'ArgumentInvalid' });
  }
  const uri = 'qemu+unix:///system?socket=/nonexistent';
  await assert.rejects(connectLibvirt({ uri, clock: realClock() }), {
    code: 'HypervisorUnavailable',
    message: /nonexistent/,
  });
});
