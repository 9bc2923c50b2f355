import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isHoldfastError } from '#base';
import { formatNbdUri, parseNbdUri } from './nbd-address.ts';
import { NbdClient, type NbdClientOptions } from './nbd-client.ts';
import { clock, noise, readAll, run, scratch, serve } from './testing/peers.ts';

const MIB = 1024 * 1024;

async function connectTo(
  t: TestContext,
  path: string,
  options: Partial<NbdClientOptions> = {},
): Promise<NbdClient> {
  const address = { endpoint: { path }, exportName: '' };
  const client = await NbdClient.connect({ address, clock, ...options });
  t.after(async () => await client.close());
  return client;
}

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const gathered: T[] = [];
  for await (const item of items) gathered.push(item);
  return gathered;
}

async function assertCode(promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isHoldfastError(error), String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

for (const replies of ['structured', 'simple'] as const) {
  test(`what is written to nbdkit is read back through ${replies} replies`, async (t) => {
    const socket = join(await scratch(t), 's');
    const flags = replies === 'simple' ? ['--no-sr'] : [];
    await serve(t, socket, ['nbdkit', '-f', ...flags, '-U', socket, 'memory', '8M']);
    const client = await connectTo(t, socket, { contexts: ['base:allocation'] });
    assert.equal(client.exported.structuredReplies, replies === 'structured');
    const data = noise('nbdkit', 3 * MIB + 777);
    await client.write(12_345, data);
    await client.writeZeroes(100_000, 50_000);
    data.fill(0, 100_000 - 12_345, 150_000 - 12_345);
    await client.flush();
    const content = await readAll(client);
    assert.ok(content.subarray(12_345, 12_345 + data.length).equals(data));
    assert.ok(content.subarray(12_345 + data.length).every((byte) => byte === 0));
  });
}

test('many reads of random places and lengths may be under way at once', async (t) => {
  const folder = await scratch(t);
  const socket = join(folder, 's');
  const image = noise('random', 6 * MIB);
  await writeFile(join(folder, 'disk'), image);
  await serve(t, socket, [
    ...(['nbdkit', '-f', '-U', socket, '--filter=delay', 'file', join(folder, 'disk')] as const),
    'rdelay=2ms',
  ]);
  const client = await connectTo(t, socket, { depth: 8 });
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      const offset = randomInt(image.length);
      const target = Buffer.alloc(randomInt(Math.min(2 * MIB, image.length - offset) + 1));
      await client.read(offset, target);
      assert.ok(target.equals(image.subarray(offset, offset + target.length)));
    }),
  );
});

test('an unreadable place is an error that names its offset, and other reads go on', async (t) => {
  const folder = await scratch(t);
  const socket = join(folder, 's');
  const trigger = join(folder, 'fail');
  await serve(t, socket, [
    ...(['nbdkit', '-f', '-U', socket, '--filter=error', 'memory', '8M'] as const),
    'error-pread=EIO',
    'error-pread-rate=100%',
    `error-file=${trigger}`,
  ]);
  const client = await connectTo(t, socket);
  await client.read(0, Buffer.alloc(4096));
  await writeFile(trigger, '');
  await assert.rejects(client.read(2 * MIB, Buffer.alloc(4096)), (error) => {
    assert.ok(isHoldfastError(error, 'DiskReadFailed'));
    assert.equal(error.details['offset'], 2 * MIB);
    return true;
  });
  await rm(trigger);
  await client.read(2 * MIB, Buffer.alloc(4096));
});

test('several metadata contexts of qemu-nbd show holes and the depth of the backing chain', async (t) => {
  const folder = await scratch(t);
  const [base, top, socket] = ['base.qcow2', 'top.qcow2', 's'].map((name) => join(folder, name));
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', base!, '16M');
  await run('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 1M', base!);
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base!, top!);
  await run('qemu-io', '-f', 'qcow2', '-c', 'write -P 2 4M 1M', top!);
  await serve(t, socket!, ['qemu-nbd', '-r', '-t', '-A', '-f', 'qcow2', '-k', socket!, top!]);
  const client = await connectTo(t, socket!, {
    contexts: ['base:allocation', 'qemu:allocation-depth'],
  });
  const range = { offset: 0, length: client.sizeBytes };
  const holes = await gather(client.statuses('base:allocation', range));
  const depths = await gather(client.statuses('qemu:allocation-depth', range));
  assert.deepEqual(
    holes.map(({ offset, flags }) => [offset / MIB, flags]),
    [
      [0, 0],
      [1, 3],
      [4, 0],
      [5, 3],
    ],
  );
  assert.deepEqual(
    depths.map(({ offset, flags }) => [offset / MIB, flags]),
    [
      [0, 2],
      [1, 0],
      [4, 1],
      [5, 0],
    ],
  );
  await assertCode(client.statuses('qemu:dirty-bitmap:none', range).next(), 'ArgumentInvalid');
});

test('reads go on when the server is killed and started again', async (t) => {
  const folder = await scratch(t);
  const socket = join(folder, 's');
  const disk = join(folder, 'disk');
  const image = noise('restart', 8 * MIB);
  await writeFile(disk, image);
  const command = ['nbdkit', '-f', '-U', socket, '--filter=delay', 'file', disk, 'rdelay=20ms'];
  const start = async () => await serve(t, socket, command as [string, ...string[]]);
  const first = await start();
  const client = await connectTo(t, socket, { depth: 2 });
  const reading = readAll(client);
  await clock.sleep(30);
  first.kill('SIGKILL');
  await rm(socket);
  await start();
  assert.ok((await reading).equals(image));
});

test('a server that came back with another size is a changed disk', async (t) => {
  const socket = join(await scratch(t), 's');
  const first = await serve(t, socket, ['nbdkit', '-f', '-U', socket, 'memory', '8M']);
  const client = await connectTo(t, socket);
  first.kill('SIGKILL');
  await rm(socket);
  await serve(t, socket, ['nbdkit', '-f', '-U', socket, 'memory', '9M']);
  await assertCode(client.read(0, Buffer.alloc(512)), 'DiskChanged');
});

test('a server that stays away makes the disk unavailable, and an absent one too', async (t) => {
  const socket = join(await scratch(t), 's');
  await assertCode(connectTo(t, socket), 'DiskUnavailable');
  const server = await serve(t, socket, ['nbdkit', '-f', '-U', socket, 'memory', '8M']);
  const client = await connectTo(t, socket, { reconnectAttempts: 2 });
  server.kill('SIGKILL');
  await rm(socket);
  await assertCode(client.read(0, Buffer.alloc(512)), 'DiskUnavailable');
});

test('aborting ends reads under way and refuses later ones', async (t) => {
  const socket = join(await scratch(t), 's');
  await serve(t, socket, [
    ...(['nbdkit', '-f', '-U', socket, '--filter=delay', 'memory', '8M'] as const),
    'rdelay=10',
  ]);
  const abort = new AbortController();
  const client = await connectTo(t, socket, { signal: abort.signal });
  const reading = client.read(0, Buffer.alloc(512));
  abort.abort();
  await assertCode(reading, 'Cancelled');
  await assertCode(client.read(0, Buffer.alloc(512)), 'Cancelled');
});

test('closing fails what is under way instead of leaving it pending', async (t) => {
  const socket = join(await scratch(t), 's');
  await serve(t, socket, [
    ...(['nbdkit', '-f', '-U', socket, '--filter=delay', 'memory', '8M'] as const),
    'rdelay=10',
  ]);
  const client = await connectTo(t, socket);
  const reading = assertCode(client.read(0, Buffer.alloc(512)), 'DiskUnavailable');
  await client.close();
  await reading;
});

test('ranges outside the disk are refused before anything is sent', async (t) => {
  const socket = join(await scratch(t), 's');
  await serve(t, socket, ['nbdkit', '-f', '-U', socket, 'memory', '1M']);
  const client = await connectTo(t, socket);
  await assertCode(client.read(MIB - 1, Buffer.alloc(2)), 'DiskRangeInvalid');
  await assertCode(client.write(-1, Buffer.alloc(2)), 'DiskRangeInvalid');
  await assertCode(client.writeZeroes(0, MIB + 1), 'DiskRangeInvalid');
});

/** A server that speaks a good handshake for a disk of 1 MiB, then answers each request as told. */
async function lyingServer(
  t: TestContext,
  answer: (socket: Socket, cookie: Buffer) => void,
): Promise<string> {
  const path = join(await scratch(t), 's');
  const optionReply = (option: number, type: number, data = ''): Buffer => {
    const body = Buffer.from(data, 'hex');
    const head = Buffer.from('0003e889045565a9', 'hex');
    const numbers = Buffer.alloc(12);
    numbers.writeUInt32BE(option, 0);
    numbers.writeUInt32BE(type, 4);
    numbers.writeUInt32BE(body.length, 8);
    return Buffer.concat([head, numbers, body]);
  };
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (received: Buffer) => {
      const optionAt = received.lastIndexOf('IHAVEOPT');
      if (optionAt < 0) {
        if (received.length >= 28) answer(socket, received.subarray(8, 16));
      } else if (received.readUInt32BE(optionAt + 8) === 8) {
        socket.write(optionReply(8, 1));
      } else {
        socket.write(optionReply(7, 3, '000000000000001000000001'));
        socket.write(optionReply(7, 1));
      }
    });
    socket.write(Buffer.from(`${Buffer.from('NBDMAGICIHAVEOPT').toString('hex')}0003`, 'hex'));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => server.close());
  return path;
}

/** A final chunk; type and body in hex. Its stated length may be a lie. */
function chunk(cookie: Buffer, [type, body]: [string, string], statedLength?: number): Buffer {
  const length = statedLength ?? body.length / 2;
  return Buffer.concat([
    Buffer.from(`668e33ef0001${type}`, 'hex'),
    cookie,
    Buffer.from(length.toString(16).padStart(8, '0') + body, 'hex'),
  ]);
}

const LIES: Readonly<Record<string, (cookie: Buffer) => Buffer>> = {
  'garbage instead of a reply': () => Buffer.alloc(64, 0x41),
  'a reply to nothing': () => chunk(Buffer.alloc(8, 9), ['0000', '']),
  'a simple reply where structured ones were agreed': (cookie) =>
    Buffer.concat([Buffer.from('6744669800000000', 'hex'), cookie]),
  'a hole of 4 GiB': (cookie) => chunk(cookie, ['0002', '0000000000000000ffffffff']),
  'data before the request': (cookie) => chunk(cookie, ['0001', '0000000000000000aa']),
  'data of 4 GiB': (cookie) => chunk(cookie, ['0001', '0000000000001000'], 0xffffffff),
  'less data than asked for': (cookie) => chunk(cookie, ['0001', '0000000000001000aabb']),
  'an error text longer than its chunk': (cookie) => chunk(cookie, ['8001', '00000005ffff']),
  'a huge error': (cookie) => chunk(cookie, ['8001', ''], 0x7fffffff),
  'block status for a read': (cookie) => chunk(cookie, ['0005', '000000010000100000000000']),
  'an offset beyond every disk': (cookie) => chunk(cookie, ['0001', 'ffffffffffffffffaa']),
  'an unknown chunk': (cookie) => chunk(cookie, ['0099', '']),
};

for (const [lie, bytes] of Object.entries(LIES)) {
  test(`a server that sends ${lie} breaks the protocol`, async (t) => {
    const path = await lyingServer(t, (socket, cookie) => socket.write(bytes(cookie)));
    const client = await connectTo(t, path);
    await assertCode(client.read(4096, Buffer.alloc(4096)), 'ProtocolViolation');
    await assertCode(client.read(0, Buffer.alloc(1)), 'ProtocolViolation');
  });
}

test('chunks of one reply may come in any order', async (t) => {
  const path = await lyingServer(t, (socket, cookie) => {
    const late = chunk(cookie, ['0001', `0000000000001002${'bbbb'}`]);
    late.writeUInt16BE(0, 4);
    socket.write(Buffer.concat([late, chunk(cookie, ['0001', `0000000000001000${'aaaa'}`])]));
  });
  const client = await connectTo(t, path);
  const target = Buffer.alloc(4);
  await client.read(4096, target);
  assert.equal(target.toString('hex'), 'aaaabbbb');
});

test('a server that owes an answer and is silent is given up', async (t) => {
  const path = await lyingServer(t, () => {});
  const client = await connectTo(t, path, { stallTimeoutMs: 40, reconnectAttempts: 0 });
  await assertCode(client.read(0, Buffer.alloc(512)), 'DiskUnavailable');
});

test('a request that kills the server each time is given up', async (t) => {
  const path = await lyingServer(t, (socket) => socket.destroy());
  const client = await connectTo(t, path);
  await assertCode(client.read(0, Buffer.alloc(512)), 'DiskUnavailable');
});

test('addresses are parsed and written in the form of the NBD URI specification', () => {
  const unix = parseNbdUri('nbd+unix:///vda%20x?socket=/run/a%26b');
  assert.deepEqual(unix, { endpoint: { path: '/run/a&b' }, exportName: 'vda x' });
  const tcp = parseNbdUri('nbd://[::1]/x');
  assert.deepEqual(tcp, { endpoint: { host: '::1', port: 10809 }, exportName: 'x' });
  for (const address of [unix, tcp]) assert.deepEqual(parseNbdUri(formatNbdUri(address)), address);
  for (const wrong of ['nbd+unix:///x', 'nbds://host/x', 'nbd:/x', 'nbd+vsock://1/x']) {
    assert.throws(() => parseNbdUri(wrong), { code: 'ArgumentInvalid' });
  }
});
