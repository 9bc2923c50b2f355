/** A real `holdfast serve` on loopback with a host of image folders, for the tests of one file. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { json, noise, run, start, temporaryFolder, MEBIBYTE, type Run } from './holdfast.ts';

export type ServiceProcess = {
  readonly folder: string;
  readonly data: string;
  /** A folder a VM. */
  readonly images: string;
  readonly url: string;
  /** What a command needs to find it. */
  readonly variables: Readonly<Record<string, string>>;
  readonly run: (...args: string[]) => Promise<Run>;
  /** A command that must succeed; what it prints. */
  readonly text: (...args: string[]) => Promise<string>;
  readonly json: <Shape>(...args: string[]) => Promise<Shape>;
  /** A command that must fail with this code, in one line that matches. */
  readonly fails: (args: readonly string[], code: 1 | 2, says: RegExp) => Promise<void>;
};

/** Ends after the tests of the file. */
export async function serviceProcess(): Promise<ServiceProcess> {
  const folder = temporaryFolder();
  const [data, images] = [join(folder, 'data'), join(folder, 'images')];
  mkdirSync(images);
  const child = start(['serve', '--data', data, '--listen', '127.0.0.1:0', '--json'], {
    password: null,
  });
  const closed = new Promise((settle) => child.once('close', settle));
  after(async () => {
    child.kill('SIGINT');
    await closed;
  });
  child.stderr.resume();
  const url = await new Promise<string>((settle, reject) => {
    child.stdout.setEncoding('utf8').once('data', (text: string) => {
      settle((JSON.parse(text) as { readonly url: string }).url);
    });
    child.once('close', () => reject(new Error('the service ended at once')));
  });
  const variables = { HOLDFAST_DATA: data };
  const options = { variables, password: null };
  return {
    folder,
    data,
    images,
    url,
    variables,
    run: async (...args) => await run(args, options),
    text: async (...args) => {
      const { code, stdout, stderr } = await run(args, options);
      assert.equal(code, 0, `holdfast ${args.join(' ')}: ${stderr}`);
      return stdout;
    },
    json: async (...args) => await json(args, options),
    fails: async (args, code, says) => {
      const result = await run(args, options);
      assert.match(result.stderr, /^holdfast: [^\n]* \[\w+\]\n$/);
      assert.match(result.stderr, says);
      assert.equal(result.code, code, result.stderr);
      assert.equal(result.stdout, '');
    },
  };
}

/** A VM with a system disk and one of data, both with bytes that do not compress. */
export function addVm({ images }: ServiceProcess, name: string, sizeBytes = 4 * MEBIBYTE): string {
  const folder = join(images, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'a-system.raw'), noise(sizeBytes));
  writeFileSync(join(folder, 'b-data.raw'), noise(MEBIBYTE, 2));
  return folder;
}

/** Whether two images hold the same bytes. */
export function areSame(one: string, other: string): boolean {
  try {
    execFileSync('qemu-img', ['compare', '-q', one, other]);
    return true;
  } catch {
    return false;
  }
}
