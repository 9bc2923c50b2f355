import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, readFile, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { HoldfastError, isHoldfastError } from '#base';
import { intersectExtents, normaliseExtents, type Extent } from './extent.ts';
import { NbdClient } from './nbd-client.ts';
import { parseNbdUri } from './nbd-address.ts';
import { startNbdServer, type NbdServer, type NbdServerOptions } from './nbd-server.ts';
import type { ServedDisk } from './served-disk.ts';
import { clock, noise, readAll, run, scratch } from './testing/peers.ts';

const MIB = 1024 * 1024;

/** A disk in memory: data where `data` says, zeros elsewhere. */
function memoryDisk(
  sizeBytes: number,
  data: readonly Extent[],
): {
  sizeBytes: number;
  content: Buffer;
  read: (offset: number, target: Uint8Array) => Promise<void>;
  dataExtents: (range: Extent) => Promise<Extent[]>;
} {
  const content = Buffer.alloc(sizeBytes);
  const extents = normaliseExtents(data);
  for (const { offset, length } of extents) noise(`at ${offset}`, length).copy(content, offset);
  return {
    sizeBytes,
    content,
    read: async (offset, target) => {
      target.set(content.subarray(offset, offset + target.length));
    },
    dataExtents: async (range) => intersectExtents(extents, [range]),
  };
}

const SPARSE = memoryDisk(16 * MIB + 512, [
  { offset: 0, length: 70_000 },
  { offset: 3 * MIB, length: 2 * MIB + 4096 },
  { offset: 16 * MIB, length: 512 },
]);

async function served(
  t: TestContext,
  disk: ServedDisk,
  options: Partial<NbdServerOptions> = {},
): Promise<{ server: NbdServer; folder: string; uri: string; socketPath: string }> {
  const folder = await scratch(t);
  const socketPath = join(folder, 's');
  const exports = new Map([['vda', disk]]);
  const server = await startNbdServer({ exports, listen: { socketPath }, ...options });
  t.after(async () => await server.close());
  return { server, folder, uri: server.uri('vda'), socketPath };
}

async function client(t: TestContext, uri: string): Promise<NbdClient> {
  const options = { address: parseNbdUri(uri), contexts: ['base:allocation'], clock };
  const connected = await NbdClient.connect(options);
  t.after(async () => await connected.close());
  return connected;
}

test('nbdcopy, qemu-img convert and qemu-img compare all see the same disk', async (t) => {
  const { folder, uri } = await served(t, SPARSE);
  const [copied, converted] = [join(folder, 'copied'), join(folder, 'converted.qcow2')];
  await run('nbdcopy', uri, copied);
  assert.ok((await readFile(copied)).equals(SPARSE.content));
  await run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', '-m', '16', '-W', uri, converted);
  await run('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', uri, converted);
});

test('nbdinfo sees holes, flags and sizes, and lists every export', async (t) => {
  const exports = new Map([
    ['vda', SPARSE],
    ['vdb', memoryDisk(MIB, [])],
  ]);
  const { server, uri } = await served(t, SPARSE, { exports });
  const map = JSON.parse(await run('nbdinfo', '--map', '--json', uri)) as {
    offset: number;
    length: number;
    type: number;
  }[];
  assert.deepEqual(
    map.filter(({ type }) => type === 0).map(({ offset, length }) => ({ offset, length })),
    await SPARSE.dataExtents({ offset: 0, length: SPARSE.sizeBytes }),
  );
  const about = JSON.parse(await run('nbdinfo', '--json', uri)) as {
    exports: Record<string, unknown>[];
  };
  assert.equal(about.exports[0]!['export-size'], SPARSE.sizeBytes);
  assert.equal(about.exports[0]!['is_read_only'], true);
  assert.equal(about.exports[0]!['can_multi_conn'], true);
  assert.equal(about.exports[0]!['block_size_maximum'], 32 * MIB);
  const list = await run('nbdinfo', '--list', server.uri(''));
  assert.match(list, /export="vda"[^]*export="vdb"/);
  await assert.rejects(run('nbdinfo', server.uri('vdc')), /No such file or directory for export/);
  await assert.rejects(client(t, server.uri('vdc')), { code: 'DiskNotFound' });
});

test('a qcow2 overlay on the served disk takes writes, and the disk below stays as it is', async (t) => {
  const { folder, uri } = await served(t, SPARSE);
  const overlay = join(folder, 'overlay.qcow2');
  const before = Buffer.from(SPARSE.content);
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', uri, overlay);
  const commands = ['-c', 'write -P 7 1M 64k', '-c', 'read -P 7 1M 64k', '-c', 'read -P 0 2M 64k'];
  assert.doesNotMatch(await run('qemu-io', '-f', 'qcow2', ...commands, overlay), /fail/i);
  await run('qemu-img', 'rebase', '-f', 'qcow2', '-b', '', overlay);
  await run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', overlay, join(folder, 'flat'));
  before.fill(7, MIB, MIB + 65536);
  assert.ok((await readFile(join(folder, 'flat'))).subarray(0, before.length).equals(before));
});

test('random disks read the same through our client, with and without known holes', async (t) => {
  const place = fc.tuple(fc.nat(400_000), fc.integer({ min: 1, max: 60_000 }));
  await fc.assert(
    fc.asyncProperty(fc.array(place, { maxLength: 90 }), fc.boolean(), async (places, known) => {
      const extents = places.map(([offset, length]) => ({ offset, length }));
      const disk = memoryDisk(500_000, extents);
      const opaque: ServedDisk = { sizeBytes: disk.sizeBytes, read: disk.read };
      const { server, uri } = await served(t, known ? disk : opaque);
      const peer = await client(t, uri);
      assert.ok((await readAll(peer)).equals(disk.content));
      let end = 0;
      for await (const run of peer.statuses('base:allocation', { offset: 0, length: 500_000 })) {
        assert.equal(run.offset, end);
        end += run.length;
        if (run.flags === 3) {
          assert.ok(disk.content.subarray(run.offset, end).every((byte) => byte === 0));
        }
      }
      assert.equal(end, 500_000);
      await peer.close();
      await server.close();
    }),
    { numRuns: 25 },
  );
});

test('a failed read reaches the client as an error with its text, and the next read works', async (t) => {
  const errors: unknown[] = [];
  const disk: ServedDisk = {
    sizeBytes: MIB,
    read: async (offset, target) => {
      if (offset <= 4096 && offset + target.length > 4096)
        throw new HoldfastError('BlockMissing', 'block 1 is not there');
      target.fill(1);
    },
  };
  const { folder, uri } = await served(t, disk, { onError: (error) => errors.push(error) });
  const peer = await client(t, uri);
  await assert.rejects(peer.read(4096, Buffer.alloc(512)), /4096: input\/output.*block 1 is not/);
  await peer.read(0, Buffer.alloc(512));
  await assert.rejects(
    run('qemu-img', 'convert', '-f', 'raw', uri, join(folder, 'x')),
    /Input\/output error/,
  );
  assert.ok(errors.length >= 2 && errors.every((error) => isHoldfastError(error, 'BlockMissing')));
});

test('writes, zeroes and trims are refused', async (t) => {
  const { uri } = await served(t, SPARSE);
  const peer = await client(t, uri);
  assert.equal(peer.readOnly, true);
  await assert.rejects(peer.write(0, Buffer.alloc(512)), { code: 'DiskWriteFailed' });
  await peer.flush();
  await peer.read(0, Buffer.alloc(512));
});

test('it is served over TCP on the loopback address too', async (t) => {
  const server = await startNbdServer({ exports: new Map([['', SPARSE]]), listen: { port: 0 } });
  t.after(async () => await server.close());
  assert.match(server.uri(''), /^nbd:\/\/127\.0\.0\.1:\d+\/$/);
  assert.ok((await readAll(await client(t, server.uri('')))).equals(SPARSE.content));
});

/** Sends bytes after the greeting; resolves to what the server said until it hung up. */
async function provoke(socketPath: string, bytes: Buffer): Promise<Buffer> {
  const socket = connect(socketPath);
  const said: Buffer[] = [];
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => said.push(chunk));
  socket.write(bytes);
  await new Promise((resolve) => socket.on('close', resolve));
  return Buffer.concat(said);
}

const option = (code: number, body: Buffer, length = body.length): Buffer => {
  const head = Buffer.alloc(16);
  head.write('IHAVEOPT');
  head.writeUInt32BE(code, 8);
  head.writeUInt32BE(length, 12);
  return Buffer.concat([head, body]);
};
const HELLO = Buffer.from([0, 0, 0, 3]);
const EXPORT_VDA = option(1, Buffer.from('vda'));
const request = (command: number, length: number): Buffer => {
  const frame = Buffer.alloc(28);
  frame.writeUInt32BE(0x25609513, 0);
  frame.writeUInt16BE(command, 6);
  frame.writeUInt32BE(length, 24);
  return frame;
};

test('hostile clients are hung up on, and the server goes on', async (t) => {
  const { uri, socketPath } = await served(t, SPARSE);
  const attacks: Buffer[] = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.concat([HELLO, Buffer.alloc(4096, 0x42)]),
    Buffer.concat([HELLO, option(7, Buffer.alloc(0), 0xffffffff)]),
    Buffer.concat([HELLO, option(1, Buffer.from('no such export'))]),
    Buffer.concat([HELLO, option(7, Buffer.alloc(6, 0xff)), option(2, Buffer.alloc(0))]),
    Buffer.concat([HELLO, option(10, Buffer.alloc(12, 0xff)), option(2, Buffer.alloc(0))]),
    Buffer.concat([HELLO, ...Array.from({ length: 300 }, () => option(99, Buffer.alloc(0)))]),
    Buffer.concat([HELLO, EXPORT_VDA, Buffer.alloc(28, 0x43)]),
    Buffer.concat([HELLO, EXPORT_VDA, request(1, 0xffffffff)]),
  ];
  for (const attack of attacks) await provoke(socketPath, attack);
  await Promise.all(
    Array.from({ length: 30 }, async () => {
      const bytes = Buffer.concat([HELLO, EXPORT_VDA, randomBytes(2000)]);
      await provoke(socketPath, bytes);
    }),
  );
  const sized = Buffer.concat([HELLO, EXPORT_VDA, request(0, 0x7fffffff), request(2, 0)]);
  const said = await provoke(socketPath, sized);
  assert.equal(said.readUInt32BE(18 + 10 + 4), 75, 'a read of 2 GiB is refused, not allocated');
  assert.ok((await readAll(await client(t, uri))).equals(SPARSE.content));
});

test('a client that asks for much and takes nothing makes the server hold little', async (t) => {
  let heldBytes = 0;
  const disk: ServedDisk = {
    sizeBytes: 64 * MIB,
    read: async (_offset, target) => {
      heldBytes += target.length;
    },
  };
  const { socketPath } = await served(t, disk);
  const socket = connect(socketPath);
  socket.on('error', () => {});
  socket.pause();
  const many = Array.from({ length: 1000 }, () => request(0, 8 * MIB));
  socket.write(Buffer.concat([HELLO, EXPORT_VDA, ...many]));
  await clock.sleep(200);
  socket.destroy();
  assert.ok(heldBytes > 0 && heldBytes <= 72 * MIB, `${heldBytes} bytes`);
});

test('a socket of a live server is not taken over, a dead one is, and closing removes it', async (t) => {
  const { server, folder, socketPath } = await served(t, SPARSE);
  assert.equal((await stat(socketPath)).mode & 0o777, 0o600);
  const exports = new Map([['', SPARSE]]);
  const again = startNbdServer({ exports, listen: { socketPath } });
  await assert.rejects(again, (error) => isHoldfastError(error, 'OutputExists'));
  await server.close();
  assert.ok(!existsSync(socketPath));

  const dead = join(folder, 'dead');
  const script = `require('node:net').createServer().listen('${dead}', () => process.kill(process.pid, 'SIGKILL'))`;
  await assert.rejects(run(process.execPath, '-e', script));
  assert.ok(existsSync(dead));
  const uid = process.getuid!() === 0 ? 4711 : process.getuid!();
  await chown(dead, uid, -1);
  const successor = await startNbdServer({ exports, listen: { socketPath: dead } });
  assert.equal((await stat(dead)).uid, uid, 'whoever could use it can use it again');
  await successor.close();

  const file = join(folder, 'file');
  await writeFile(file, 'keep');
  await assert.rejects(startNbdServer({ exports, listen: { socketPath: file } }), {
    code: 'OutputExists',
  });
  await assert.rejects(
    startNbdServer({ exports, listen: { socketPath: join(folder, 'x'.repeat(120)) } }),
    { code: 'ArgumentInvalid' },
  );
});
