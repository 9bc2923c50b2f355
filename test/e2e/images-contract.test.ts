/** The contract of `Hypervisor`, on a folder of images. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { randomBytes } from 'node:crypto';
import { realClock } from '#base';
import { connectHypervisor } from '#hypervisor';
import { hypervisorContract, type ContractSubject } from './hypervisor.contract.ts';

const run = promisify(execFile);

/** Two qcow2 images in a sub-folder, one of them on a backing file beside it, and another VM. */
async function imagesSubject(t: TestContext): Promise<ContractSubject> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast images-'));
  t.after(async () => await rm(root, { recursive: true, force: true }));
  const [folder, scratchDir] = [join(root, 'vms'), join(root, 'scratch')];
  await mkdir(join(folder, 'web server'), { recursive: true });
  await mkdir(scratchDir);
  const images = ['system disk', 'data'].map((name) => join(folder, 'web server', `${name}.qcow2`));
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, 'template.qcow2'), '32M']);
  const description = { allowedFiles: ['../template.qcow2'] };
  await writeFile(join(folder, 'web server', 'vm.json'), JSON.stringify(description));
  const backing = ['-b', '../template.qcow2', '-F', 'qcow2'];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, images[0]!]);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', images[1]!, '24M']);
  await run('qemu-img', ['create', '-q', '-f', 'raw', join(folder, 'other.img'), '4M']);
  const hypervisor = await connectHypervisor(`images:${folder}`, {
    clock: realClock(),
    random: randomBytes,
  });
  t.after(async () => await hypervisor.close());
  let changes = 0;
  return {
    hypervisor,
    vm: 'web server',
    scratchDir,
    disks: ['system disk', 'data'],
    change: async () => {
      changes += 1;
      for (const [at, image] of images.entries()) {
        const write = `write -P ${changes} ${(changes % 7) * 3 + at}M 700k`;
        await run('qemu-io', ['-f', 'qcow2', '-c', write, image]);
      }
    },
    traces: async () => ({
      others: [],
      bitmaps: (await Promise.all(images.map(async (image) => await bitmapsIn(image)))).flat(),
    }),
  };
}

async function bitmapsIn(image: string): Promise<string[]> {
  const { stdout } = await run('qemu-img', ['info', '--output=json', '-f', 'qcow2', image]);
  const { data } = (
    JSON.parse(stdout) as { 'format-specific': { data: { bitmaps?: { name: string }[] } } }
  )['format-specific'];
  return (data.bitmaps ?? []).map(({ name }) => name);
}

hypervisorContract('images', imagesSubject);
