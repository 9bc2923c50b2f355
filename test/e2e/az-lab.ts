/** A service with a vault, driven by `az` alone: words of a shell in, JSON or an exit code with a message out. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { azOf } from './az.ts';
import type { Serving } from './serving.ts';
import type { AnyJson } from '../../src/api/testing/any-json.ts';

/** The raw images of the VM `web`. */
export const DISKS = ['a', 'b', 'c'];
export const IN_VAULT = '-g lab -v v1';

type AzJob = {
  readonly name: string;
  readonly properties: {
    readonly operation: string;
    readonly status: string;
    readonly extendedInfo: {
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
  /** It must end with that code, and say that. */
  readonly refused: (command: string, code: number, says: RegExp) => Promise<void>;
  /** The job when it has ended, as `az backup job wait` and `show` tell it. */
  readonly finished: (job: AzJob) => Promise<AzJob>;
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
  const run = await azOf(serving);
  const words = (command: string): readonly string[] => command.split(' ').filter(Boolean);
  const az = async (command: string): Promise<unknown> => {
    const { code, json, stderr } = await run(...words(command));
    assert.equal(code, 0, `az ${command}\n${stderr}\n${serving.log}`);
    return json;
  };
  const subscription = `/subscriptions/${serving.account.subscriptionId}`;
  const put = async (path: string, properties: object): Promise<void> => {
    const url = `${path}?api-version=2026-01-01`;
    const body = JSON.stringify({ properties });
    const { code, stderr } = await run('rest', '--method', 'put', '--url', url, '--body', body);
    assert.equal(code, 0, stderr);
  };
  for (const [name, connect] of Object.entries({ lab: `images:${images}`, ...hosts })) {
    await put(`${subscription}/providers/Holdfast.Backup/hosts/${name}`, { connect });
  }
  const account = `${subscription}/resourceGroups/lab/providers/Holdfast.Backup/storageAccounts/sa1`;
  await put(account, { path: join(folder, 'restored') });
  await az('backup vault create -g lab -n v1 -l local');
  const finished = async ({ name }: AzJob): Promise<AzJob> => {
    await az(`backup job wait ${IN_VAULT} -n ${name}`);
    return (await az(`backup job show ${IN_VAULT} -n ${name}`)) as AzJob;
  };
  return {
    folder,
    images,
    subscription,
    az,
    refused: async (command, code, says) => {
      const ended = await run(...words(command));
      assert.match(ended.stderr, says, `az ${command}`);
      assert.equal(ended.code, code, `az ${command}\n${ended.stderr}`);
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
