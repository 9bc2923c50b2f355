import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { isHoldfastError, type HoldfastError } from '#base';
import { totalBytes } from './extent.ts';
import { parseNbdUri } from './nbd-address.ts';
import { openSource } from './open-disk.ts';
import { prepareSource, type PreparedDisk, type PrepareOptions } from './prepare-source.ts';
import {
  clock,
  holdAsVm,
  noise,
  readAll,
  run,
  scratch,
  serve,
  sparseFile,
} from './testing/peers.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

async function prepare(
  t: TestContext,
  location: string,
  options: Partial<PrepareOptions> = {},
): Promise<PreparedDisk> {
  const disk = await prepareSource({ location, clock, ...options });
  t.after(async () => await disk.close());
  return disk;
}

async function contentOf(disk: PreparedDisk): Promise<Buffer> {
  const source = await openSource(disk.spec, { clock });
  try {
    return await readAll(source);
  } finally {
    await source.close();
  }
}

function has(code: string, text: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isHoldfastError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, text);
    return true;
  };
}

const DATA = [
  { offset: 0, bytes: noise('start', 65536) },
  { offset: 5 * MIB, bytes: noise('middle', MIB) },
  { offset: 12 * MIB - 4096, bytes: noise('end', 4096) },
];

async function sample(folder: string): Promise<{ path: string; content: Buffer }> {
  const path = join(folder, 'disk.raw');
  await sparseFile(path, 12 * MIB, DATA);
  const content = Buffer.alloc(12 * MIB);
  for (const { offset, bytes } of DATA) bytes.copy(content, offset);
  return { path, content };
}

test('a raw file is read with its holes known', async (t) => {
  const { path, content } = await sample(await scratch(t));
  const disk = await prepare(t, path);
  assert.equal(disk.sizeBytes, content.length);
  assert.ok((await contentOf(disk)).equals(content));
  assert.deepEqual(
    await disk.dataExtents(),
    DATA.map(({ offset, bytes }) => ({ offset, length: bytes.length })),
  );
  const range = { offset: 5 * MIB + 4096, length: 8192 };
  assert.deepEqual(await disk.dataExtents(range), [range]);
});

test('a raw file of a size that is no multiple of a sector keeps its last bytes', async (t) => {
  const path = join(await scratch(t), 'odd.img');
  await writeFile(path, noise('odd', 100_001));
  const disk = await prepare(t, path);
  assert.equal(disk.sizeBytes, 100_001);
  assert.ok((await contentOf(disk)).equals(noise('odd', 100_001)));
  assert.equal(totalBytes(await disk.dataExtents()), 100_001);
});

test('the map of a sparse 8 TiB file is quick', async (t) => {
  const path = join(await scratch(t), 'big.raw');
  await sparseFile(path, 8 * 1024 * GIB, [{ offset: 7 * 1024 * GIB, bytes: noise('far', MIB) }]);
  const disk = await prepare(t, path);
  const startMs = clock.monotonicMs();
  assert.deepEqual(await disk.dataExtents(), [{ offset: 7 * 1024 * GIB, length: MIB }]);
  assert.ok(clock.monotonicMs() - startMs < 2000);
});

for (const [format, extension] of [
  ['qcow2', 'qcow2'],
  ['qcow', 'qcow'],
  ['vmdk', 'vmdk'],
  ['vhdx', 'vhdx'],
  ['vpc', 'vhd'],
  ['vdi', 'vdi'],
] as const) {
  test(`a ${format} image is known by its extension and reads as the raw disk`, async (t) => {
    const folder = await scratch(t);
    const { path, content } = await sample(folder);
    const image = join(folder, `disk.${extension}`);
    const options = format === 'vpc' ? ['-o', 'force_size=on'] : [];
    await run('qemu-img', 'convert', '-f', 'raw', '-O', format, ...options, path, image);
    const disk = await prepare(t, image);
    assert.ok((await contentOf(disk)).equals(content));
    const dataBytes = totalBytes(await disk.dataExtents());
    assert.ok(dataBytes >= MIB && dataBytes <= 12 * MIB);
    assert.equal(disk.description, image);
  });
}

test('a backing file in the same folder is read; one elsewhere is refused until it is named', async (t) => {
  const folder = await scratch(t);
  await Promise.all([mkdir(join(folder, 'a')), mkdir(join(folder, 'b'))]);
  const { content } = await sample(join(folder, 'a'));
  const base = join(folder, 'a', 'disk.raw');
  const [near, far] = [join(folder, 'a', 'near.qcow2'), join(folder, 'b', 'far.qcow2')];
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', 'disk.raw', near);
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', base, far);
  assert.ok((await contentOf(await prepare(t, near))).equals(content));

  await assert.rejects(prepare(t, far), has('DiskFormatUnsupported', /outside its folder/));
  for (const rules of [{ allowedFiles: [base] }, { allowOutside: true }]) {
    assert.ok((await contentOf(await prepare(t, far, rules))).equals(content));
  }
});

test('a data file elsewhere, a backing file over the network and one without format are refused', async (t) => {
  const folder = await scratch(t);
  await Promise.all([mkdir(join(folder, 'a')), mkdir(join(folder, 'b'))]);
  const data = join(folder, 'b', 'data.raw');
  const [split, remote, vague] = ['split', 'remote', 'vague'].map((name) =>
    join(folder, 'a', `${name}.qcow2`),
  );
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, split!, '1M');
  await assert.rejects(prepare(t, split!), has('DiskFormatUnsupported', /data\.raw/));

  const create = ['create', '-q', '-u', '-f', 'qcow2'];
  await run('qemu-img', ...create, '-F', 'raw', '-b', 'nbd://127.0.0.1:1/x', remote!, '1M');
  await assert.rejects(prepare(t, remote!), has('DiskFormatUnsupported', /outside/));

  // The first qcow format has no place for it.
  await writeFile(join(folder, 'a', 'base'), Buffer.alloc(MIB));
  await run('qemu-img', 'create', '-q', '-f', 'qcow', '-F', 'raw', '-b', 'base', vague!, '1M');
  await assert.rejects(
    prepare(t, vague!, { format: 'qcow' }),
    has('DiskFormatUnsupported', /does not say which format/),
  );
});

test('a raw disk whose content looks like qcow2 is raw all the same', async (t) => {
  const folder = await scratch(t);
  const path = join(folder, 'guest.raw');
  await run(
    'qemu-img',
    'create',
    '-q',
    '-f',
    'qcow2',
    '-u',
    '-F',
    'raw',
    '-b',
    '/etc/passwd',
    path,
    '1M',
  );
  const disk = await prepare(t, path);
  assert.equal((await contentOf(disk)).toString('latin1', 0, 3), 'QFI');
});

test('an .img that begins like an image of another format is refused until its format is named', async (t) => {
  const folder = await scratch(t);
  const path = join(folder, 'vm.img');
  for (const format of ['qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc']) {
    await run('qemu-img', 'create', '-q', '-f', format, path, '1M');
    await assert.rejects(prepare(t, path), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'DiskFormatUnsupported');
      assert.equal((error as HoldfastError).details['formats'], `${format} or raw`);
      return true;
    });
  }
  const disk = await prepare(t, path, { format: 'raw' });
  assert.equal(disk.sizeBytes, (await stat(path)).size);
});

test('a name that does not say the format asks for it; unknown formats and missing disks are refused', async (t) => {
  const folder = await scratch(t);
  const { path, content } = await sample(folder);
  const unnamed = join(folder, 'disk');
  await writeFile(unnamed, content);
  await assert.rejects(
    prepare(t, unnamed),
    has('DiskFormatUnsupported', /not guessed from content: name it$/),
  );
  assert.ok((await contentOf(await prepare(t, unnamed, { format: 'raw' }))).equals(content));
  await assert.rejects(prepare(t, path, { format: 'zip' }), has('DiskFormatUnsupported', /zip/));
  await assert.rejects(
    prepare(t, path, { format: 'qcow2' }),
    has('DiskFormatUnsupported', /qcow2/),
  );
  await assert.rejects(prepare(t, join(folder, 'no.raw')), has('DiskNotFound', /no\.raw/));
  await assert.rejects(prepare(t, folder), has('DiskFormatUnsupported', /neither/));
});

for (const name of ['disk.raw', 'disk.qcow2']) {
  test(`${name} of a running VM is refused as in use`, async (t) => {
    const folder = await scratch(t);
    const [path, socket] = [join(folder, name), join(folder, 's')];
    const format = name.slice(5);
    await run('qemu-img', 'create', '-q', '-f', format, path, '1M');
    await holdAsVm(t, { path, format, socket });
    await assert.rejects(prepare(t, path), has('DiskInUse', /shut it down/));
  });
}

test('the stamp changes when somebody writes, also into a backing file', async (t) => {
  const folder = await scratch(t);
  const { path } = await sample(folder);
  const top = join(folder, 'top.qcow2');
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', path, top);
  const disks = [await prepare(t, path), await prepare(t, top)];
  for (const disk of disks) {
    const before = await disk.stamp();
    await contentOf(disk);
    assert.equal(await disk.stamp(), before);
    await appendFile(path, 'x');
    assert.notEqual(await disk.stamp(), before);
  }
});

test('an image that became smaller is an error and not zeros', async (t) => {
  const { path } = await sample(await scratch(t));
  const disk = await prepare(t, path);
  await truncate(path, MIB);
  await assert.rejects(contentOf(disk), has('DiskChanged', /ends at 1048576/));
});

test('an unreadable place of a file is an error that names its offset', async () => {
  // The kernel answers EIO for addresses of a process where nothing is mapped.
  const spec = { kind: 'raw', path: '/proc/self/mem', sizeBytes: MIB } as const;
  const source = await openSource(spec, { clock });
  await assert.rejects(source.read(4096, Buffer.alloc(512)), (error) => {
    assert.ok(isHoldfastError(error, 'DiskReadFailed'));
    return error.details['offset'] === 4096;
  });
  await source.close();
});

test('an NBD address is a disk, without holes if the server knows none', async (t) => {
  const socket = join(await scratch(t), 's');
  await serve(t, socket, ['nbdkit', '-f', '--no-sr', '-U', socket, 'pattern', '1M']);
  const disk = await prepare(t, `nbd+unix:///?socket=${socket}`);
  assert.equal((await contentOf(disk)).readBigUInt64BE(8192), 8192n);
  assert.deepEqual(await disk.dataExtents(), [{ offset: 0, length: MIB }]);
});

test('a worker thread opens the disk from its spec', async (t) => {
  const folder = await scratch(t);
  const { path, content } = await sample(folder);
  const image = join(folder, 'disk.qcow2');
  await run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', path, image);
  const disk = await prepare(t, image);
  const script = `
    const { workerData, parentPort } = require('node:worker_threads');
    Promise.all(workerData.modules.map((url) => import(url))).then(async ([disk, peers]) => {
      const source = await disk.openSource(workerData.spec, { clock: peers.clock });
      const content = await peers.readAll(source);
      await source.close();
      parentPort.postMessage(content);
    });`;
  const modules = ['./open-disk.ts', './testing/peers.ts'].map((name) => import.meta.resolve(name));
  const worker = new Worker(script, { eval: true, workerData: { spec: disk.spec, modules } });
  const [answer] = await new Promise<[Uint8Array]>((resolve, reject) => {
    worker.once('message', (message: Uint8Array) => resolve([message]));
    worker.once('error', reject);
  });
  await worker.terminate();
  assert.ok(content.equals(answer));
});

test('closing ends qemu-nbd, and so does the death of our process', async (t) => {
  const folder = await scratch(t);
  const image = join(folder, 'disk.qcow2');
  await run('qemu-img', 'create', '-q', '-f', 'qcow2', image, '1M');
  const servers = async (): Promise<string> =>
    await run('sh', '-c', `grep -lz '^${image}$' /proc/[0-9]*/cmdline 2>/dev/null || true`);
  const disk = await prepareSource({ location: image, clock });
  assert.notEqual(await servers(), '');
  await disk.close();
  await disk.close();
  assert.equal(await servers(), '');
  assert.ok(disk.spec.kind === 'nbd');
  const { endpoint } = parseNbdUri(disk.spec.uri);
  assert.ok('path' in endpoint && !existsSync(dirname(endpoint.path)));

  const modules = ['./prepare-source.ts', './testing/peers.ts'].map((name) =>
    import.meta.resolve(name),
  );
  const script = `
    const [{ prepareSource }, { clock }] = await Promise.all(${JSON.stringify(modules)}.map((url) => import(url)));
    await prepareSource({ location: ${JSON.stringify(image)}, clock });
    process.kill(process.pid, 'SIGKILL');`;
  const died = new Promise((resolve) => {
    const temporary = `TMPDIR=${folder}`;
    execFile('env', [temporary, process.execPath, '--input-type=module', '-e', script], resolve);
  });
  await died;
  for (let tries = 0; tries < 100 && (await servers()) !== ''; tries += 1) await clock.sleep(10);
  assert.equal(await servers(), '');
});
