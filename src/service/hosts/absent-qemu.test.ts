import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '#base';
import { testService } from '../testing/test-service.ts';
import { discoverHost } from './discovery.ts';
import { getHost, listHosts, putHost } from './hosts.ts';

test('a QMP socket where nobody listens is refused as a host, unless it is said to come; then it says why it has no VM', async (t) => {
  const made = await testService(t);
  const service = made.service();
  const uri = `qmp:${join(made.data, '..', 'nowhere.sock')}`;
  await assert.rejects(putHost(service, { name: 'vm1', uri }), (error) => {
    assert.ok(isHoldfastError(error, 'HypervisorUnavailable'));
    assert.match(error.message, /no QEMU listens at qmp:.*nowhere\.sock: a VM that is off has no/);
    assert.match(error.message, /--allow-absent/);
    return true;
  });
  assert.deepEqual(await listHosts(service.catalogue.read), []);
  await putHost(service, { name: 'vm1', uri, allowsAbsent: true });
  await discoverHost(service, 'vm1');
  const { failure } = await getHost(service.catalogue.read, 'vm1');
  assert.match(failure!, /its VM is off, and is seen again when it is started/);
  // Its VM may be off when its limit is changed.
  const changed = await putHost(service, { name: 'vm1', uri, snapshotsAtOnce: 2 });
  assert.equal(changed.snapshotsAtOnce, 2);
});

test('a socket of something else than QEMU is refused, also where it may be absent', async (t) => {
  const made = await testService(t);
  const path = join(made.data, '..', 'other.sock');
  const other = createServer((socket) => socket.end('hello\n'));
  await new Promise<void>((resolve) => other.listen(path, resolve));
  t.after(() => other.close());
  await assert.rejects(
    putHost(made.service(), { name: 'vm1', uri: `qmp:${path}`, allowsAbsent: true }),
    /something else answers there|hung up/,
  );
});
