/**
 * `holdfast env`: what a shell evaluates so that `az`, the SDKs and `holdfast` use a service.
 *
 * `az` gets a configuration folder of its own within the data folder, in which the service is registered as a cloud
 * already: nothing of the user's own `az` is touched, and no `az cloud register` has to be run. `az login` is, once,
 * with the secret in a file: arguments can be seen by everybody on the machine.
 */
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asWhomToRun, HoldfastError, shellQuoted } from '#base';
import { isForbidden } from '../service/find-service.ts';
import type { Surroundings } from '../surroundings.ts';
import { dataFolderOf } from './data-folder.ts';

type Account = {
  readonly url: string;
  readonly caFile?: string;
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly clientId: string;
  readonly clientSecret: string;
};

const CLOUD = 'Holdfast';
const PRIVATE = 0o600;

/** @throws {HoldfastError} `ServiceNotFound` if no service was started on the folder by this user. */
export async function printEnvironment(
  surroundings: Surroundings,
  options: { readonly data?: string },
): Promise<void> {
  const data = dataFolderOf(options, surroundings);
  const account = await readAccount(data);
  const folder = join(data, 'az');
  await writeAzFolder(folder, account);
  const isSignedIn = await knows(join(folder, 'azureProfile.json'), account.clientId);
  surroundings.stdout.write(script({ data, folder, account, isSignedIn }));
}

async function readAccount(data: string): Promise<Account> {
  try {
    const account = JSON.parse(await readFile(join(data, 'admin.json'), 'utf8')) as Account;
    // Written while the service runs; without it the account's address of the last start is told.
    const state = await readFile(join(data, 'state.json'), 'utf8').catch(() => '{}');
    const { url } = JSON.parse(state) as { readonly url?: string };
    return url === undefined ? account : { ...account, url };
  } catch (error) {
    throw new HoldfastError(
      'ServiceNotFound',
      (await isForbidden(join(data, 'admin.json')))
        ? `${join(data, 'admin.json')} cannot be read by this user; ${await asWhomToRun(data)}`
        : `${data} has no account of holdfast: start holdfast serve on it first`,
      { cause: error, details: { path: data } },
    );
  }
}

async function writeAzFolder(folder: string, { url, clientSecret }: Account): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const endpoints = [
    `[${CLOUD}]`,
    'profile = latest',
    `endpoint_resource_manager = ${url}`,
    `endpoint_management = ${url}`,
    `endpoint_active_directory = ${url}/adfs`,
    `endpoint_active_directory_resource_id = ${url}`,
    `endpoint_active_directory_graph_resource_id = ${url}/`,
    'suffix_storage_endpoint = local',
  ];
  const settings = [`[cloud]`, `name = ${CLOUD}`, '[core]', 'collect_telemetry = no'];
  await writePrivate(join(folder, 'clouds.config'), endpoints.join('\n'));
  await writePrivate(join(folder, 'client-secret'), clientSecret);
  // az writes into this one: what the user has set stays.
  if (!(await isThere(join(folder, 'config')))) {
    await writePrivate(join(folder, 'config'), `${settings.join('\n')}\n`);
  }
}

async function writePrivate(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: PRIVATE });
  await chmod(path, PRIVATE);
}

function script(of: {
  readonly data: string;
  readonly folder: string;
  readonly account: Account;
  readonly isSignedIn: boolean;
}): string {
  const { data, folder, account, isSignedIn } = of;
  const { caFile, tenantId, clientId } = account;
  const login =
    `az login --service-principal --username ${shellQuoted(clientId)} --tenant ${shellQuoted(tenantId)} ` +
    `--password @${shellQuoted(join(folder, 'client-secret'))} --output none`;
  const lines = [
    `export HOLDFAST_DATA=${shellQuoted(data)}`,
    `export AZURE_CONFIG_DIR=${shellQuoted(folder)}`,
    'export AZURE_CORE_COLLECT_TELEMETRY=no',
    ...(caFile === undefined
      ? []
      : [
          `export REQUESTS_CA_BUNDLE=${shellQuoted(caFile)}`,
          `export NODE_EXTRA_CA_CERTS=${shellQuoted(caFile)}`,
        ]),
    ...(isSignedIn ? [] : [`if command -v az >/dev/null; then ${login}; fi`]),
  ];
  return `${lines.join('\n')}\n`;
}

/** Whether az was signed in with the account that there is now: a lost catalogue brings another one. */
async function knows(profile: string, clientId: string): Promise<boolean> {
  try {
    return (await readFile(profile, 'utf8')).includes(clientId);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
