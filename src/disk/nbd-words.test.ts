import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { HoldfastError, isHoldfastError } from '#base';
import { inOurWords } from './nbd-words.ts';
import { openSource } from './open-disk.ts';
import { prepareSource } from './prepare-source.ts';
import { clock, scratch, serve } from './testing/peers.ts';

function says(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isHoldfastError(error, code as HoldfastError['code']), String(error));
    assert.match(error.message, message);
    return true;
  };
}

test('a server that is not there is said in our words, what the system says behind them', async (t) => {
  const location = `nbd+unix:///?socket=${join(await scratch(t), 'none')}`;
  await assert.rejects(
    prepareSource({ location, clock }),
    says(
      'DiskUnavailable',
      /^cannot connect to "nbd\+unix:.*none": its server cannot be reached .* \(NBD: .*ENOENT.*\)$/,
    ),
  );
});

test('a server that speaks something else is named', async (t) => {
  const socket = join(await scratch(t), 's');
  const server = createServer((client) => client.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  t.after(() => server.close());
  await new Promise<void>((settle) => server.listen(socket, settle));
  await assert.rejects(
    prepareSource({ location: `nbd+unix:///?socket=${socket}`, clock }),
    says('ProtocolViolation', /^cannot connect to ".*": its server does not keep .* \(NBD: .*\)$/),
  );
});

test('an export that the server does not have is named', async (t) => {
  const folder = await scratch(t);
  const [image, socket] = [join(folder, 'a.raw'), join(folder, 's')];
  await writeFile(image, Buffer.alloc(1 << 20));
  await serve(t, socket, ['qemu-nbd', '-t', '-f', 'raw', '-x', 'web', '-k', socket, image]);
  await assert.rejects(
    prepareSource({ location: `nbd+unix:///db?socket=${socket}`, clock }),
    says('DiskNotFound', /^cannot connect to ".*\/db\?.*": its server has no such export: .*\)$/),
  );
});

test('a place that the server cannot read or write is named, with what to do', async (t) => {
  const folder = await scratch(t);
  const socket = join(folder, 's');
  const failing = ['--filter=error', 'memory', '1M', 'error-pread-rate=1'];
  await serve(t, socket, ['nbdkit', '-f', '-U', socket, ...failing]);
  const location = `nbd+unix:///?socket=${socket}`;
  const source = await openSource({ kind: 'nbd', uri: location, sizeBytes: 1 << 20 }, { clock });
  t.after(() => source.close());
  await assert.rejects(source.read(65_536, new Uint8Array(4096)), (error) => {
    const words =
      /^cannot read "nbd.*" at offset 65536: its server cannot read .* \(cannot read .*\)$/;
    says('DiskReadFailed', words)(error);
    assert.equal((error as HoldfastError).details['offset'], 65_536);
    return true;
  });
});

test('an image that our own server shows is named, and not the socket', async (t) => {
  const image = '/vm/web.qcow2';
  const uri = `nbd+unix:///?socket=${join(await scratch(t), 'none')}`;
  await assert.rejects(
    openSource({ kind: 'nbd', uri, sizeBytes: 1, image }, { clock }),
    says('DiskUnavailable', /^cannot connect to "\/vm\/web\.qcow2": /),
  );
});

test('what is cancelled or a fault of ours stays as it is', async () => {
  for (const error of [new HoldfastError('Cancelled', 'cancelled'), new TypeError('x')]) {
    const work = { doing: 'read', disk: 'a.raw' };
    await assert.rejects(
      inOurWords(work, () => Promise.reject(error)),
      (thrown) => thrown === error,
    );
  }
});
