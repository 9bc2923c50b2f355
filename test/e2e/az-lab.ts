/**
 * A service with a vault, driven by the real `az` (Debian's azure-cli), which is pointed to it by what `holdfast env`
 * prints and by nothing else: words of a shell in, JSON or an exit code with a message out.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Serving } from './serving.ts';
import type { AnyJson } from '../../src/api/testing/any-json.ts';

const run = promisify(execFile);
const HOLDFAST = resolve('bin/holdfast');

/** The raw images of the VM `web`: of the system, and at the LUNs 0 and 1. */
export const DISKS = ['a', 'b', 'c'];
export const IN_VAULT = '-g lab -v v1';

/** Debian 12's azure-cli asks Compute for an API that its own library lacks. */
const COMPUTE_SHIM = `
try:
    from azure.cli.core.profiles._shared import AZURE_API_PROFILES as P, ResourceType as T
    p = P['latest'][T.MGMT_COMPUTE].profile
    for k in [k for k, v in p.items() if v == '2022-11-01']: p[k] = '2022-08-01'
except Exception: pass
`;

type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string };

export type AzJob = {
  readonly name: string;
  readonly properties: {
    readonly operation: string;
    readonly status: string;
    readonly extendedInfo: {
      readonly dynamicErrorMessage: string | null;
      readonly tasksList: readonly { readonly taskId: string; readonly status: string }[];
      readonly propertyBag: Readonly<Record<string, string>>;
    };
  };
};

export type AzLab = {
  readonly folder: string;
  readonly images: string;
  /** The path of the one subscription. */
  readonly subscription: string;
  /** One command that must end with 0. @returns what it printed. */
  readonly az: (command: string) => Promise<AnyJson>;
  /** As `az`: what it prints for people. */
  readonly table: (command: string) => Promise<string>;
  /** It must end with that code, and say that. */
  readonly refused: (command: string, code: number, says: RegExp) => Promise<void>;
  /** A PUT of these properties by `az rest`: for what Azure has no command for. */
  readonly put: (path: string, properties: object) => Promise<void>;
  /** The content as a file, as az takes it. */
  readonly file: (name: string, content: object) => string;
  /** The job when it has ended, as `az backup job show` tells it. */
  readonly finished: (job: Pick<AzJob, 'name'>) => Promise<AzJob>;
  /** The images that a Restore job has written. */
  readonly imagesOf: (job: AzJob) => Promise<readonly string[]>;
};

/**
 * Starts it. The host `lab` is a folder with the VM `web`; its group has the vault `v1` and the storage account
 * `sa1`.
 *
 * @param serving of the test's file, so that it goes with its tests.
 * @param hosts more of them: address by name.
 */
export async function azLab(
  serving: Serving,
  hosts: Readonly<Record<string, string>> = {},
): Promise<AzLab> {
  await serving.start();
  const { folder } = serving;
  const images = join(folder, 'images');
  mkdirSync(join(images, 'web'), { recursive: true });
  for (const name of DISKS) writeFileSync(join(images, 'web', `${name}.raw`), randomBytes(1 << 20));
  const env = await loggedIn(serving);
  const words = (command: string): readonly string[] => command.split(' ').filter(Boolean);
  const printed = async (args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await runAz(args, env);
    assert.equal(code, 0, `az ${args.join(' ')}\n${stderr}\n${serving.log}`);
    return stdout;
  };
  const az = async (command: string): Promise<AnyJson> => {
    const text = await printed([...words(command), '--output', 'json']);
    return text.trim() === '' ? undefined : JSON.parse(text);
  };
  const subscription = `/subscriptions/${serving.account.subscriptionId}`;
  const put = async (path: string, properties: object): Promise<void> => {
    const url = `${path}?api-version=2026-01-01`;
    const body = JSON.stringify({ properties });
    await printed(['rest', '--method', 'put', '--url', url, '--body', body]);
  };
  for (const [name, connect] of Object.entries({ lab: `images:${images}`, ...hosts })) {
    await put(`${subscription}/providers/Holdfast.Backup/hosts/${name}`, { connect });
  }
  const account = `${subscription}/resourceGroups/lab/providers/Holdfast.Backup/storageAccounts/sa1`;
  await put(account, { path: join(folder, 'restored') });
  await az('backup vault create -g lab -n v1 -l local');
  const finished = async ({ name }: Pick<AzJob, 'name'>): Promise<AzJob> => {
    // az looks every 30 s. How the job ended is told below.
    await run(HOLDFAST, ['jobs', 'wait', name], { env }).catch((failed: { code?: unknown }) => {
      assert.equal(failed.code, 1, serving.log);
    });
    return (await az(`backup job show ${IN_VAULT} -n ${name}`)) as AzJob;
  };
  return {
    folder,
    images,
    subscription,
    az,
    table: async (command) => await printed([...words(command), '--output', 'table']),
    refused: async (command, code, says) => {
      const ended = await runAz(words(command), env);
      assert.match(ended.stderr, says, `az ${command}`);
      assert.equal(ended.code, code, `az ${command}\n${ended.stderr}`);
    },
    put,
    file: (name, content) => {
      const path = join(folder, name);
      writeFileSync(path, JSON.stringify(content));
      return path;
    },
    finished,
    imagesOf: async (job) => {
      const { properties } = await finished(job);
      assert.equal(properties.status, 'Completed', JSON.stringify(properties));
      const files = properties.extendedInfo.propertyBag['Restored Files']!.split(', ');
      return files.filter((path) => path.endsWith('.qcow2'));
    },
  };
}

/** The variables of a shell that has run `eval "$(holdfast env)"`. */
async function loggedIn(serving: Serving): Promise<NodeJS.ProcessEnv> {
  const shim = join(serving.folder, 'shim');
  mkdirSync(shim, { recursive: true });
  writeFileSync(join(shim, 'sitecustomize.py'), COMPUTE_SHIM);
  const script = `eval "$('${HOLDFAST}' env --data '${serving.data}')" && env -0`;
  const { stdout } = await run('sh', ['-c', script], { env: { ...process.env, PYTHONPATH: shim } });
  const pairs = stdout.split('\0').filter((pair) => pair.includes('='));
  return Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
}

async function runAz(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
  try {
    return { code: 0, ...(await run('az', args, { env })) };
  } catch (error) {
    const failed = error as { code?: unknown; stdout?: string; stderr?: string };
    if (typeof failed.code !== 'number') throw error;
    return { code: failed.code, stdout: failed.stdout ?? '', stderr: failed.stderr ?? '' };
  }
}
