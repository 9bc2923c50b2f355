/**
 * Where the service is and who we are there: from a data folder on this machine, or from the environment.
 *
 * ```
 *   --data DIR ─► HOLDFAST_DATA ─► HOLDFAST_URL and its companions ─► the folder of `npm start`, where it is there
 *      └────────────┴─► admin.json: who we are, ca.pem     state.json: where it listens now
 * ```
 */
import { access, constants, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asWhomToRun, HoldfastError } from '#base';
import type { ServiceEnvironment } from '../surroundings.ts';

export type ServiceAddress = {
  /** `https://localhost:8443` */
  readonly url: string;
  /** PEM of the authority to trust; undefined: those that Node trusts. */
  readonly authority: string | undefined;
  readonly tenantId: string;
  readonly subscriptionId: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** How it was found, for messages. */
  readonly foundBy: string;
  /** Where id and secret are from, for messages. */
  readonly secretFrom: string;
};

/** @throws {HoldfastError} `ServiceNotFound`, which says what was looked for. */
export async function findService(
  data: string | undefined,
  environment: ServiceEnvironment,
): Promise<ServiceAddress> {
  if (data !== undefined) return await inFolder(data);
  if (given(environment.data) !== undefined) return await inFolder(environment.data!);
  if (given(environment.url) !== undefined) return await inEnvironment(environment);
  const usual = await usualFolder(environment);
  if (usual !== undefined) return await inFolder(usual);
  throw new HoldfastError(
    'ServiceNotFound',
    'no service is known here: give --data the folder of "holdfast serve", or set HOLDFAST_DATA or HOLDFAST_URL',
  );
}

/**
 * Whether anything says where a service is, wrongly or not: what `findService` would then be asked for.
 *
 * @throws {HoldfastError} `ServiceNotFound` if the folder of `npm start` is there and makes no sense.
 */
export async function isServiceKnown(
  data: string | undefined,
  environment: ServiceEnvironment,
): Promise<boolean> {
  const told = [data, given(environment.data), given(environment.url)];
  if (told.some((place) => place !== undefined)) return true;
  return (await usualFolder(environment)) !== undefined;
}

/** The folder of `npm start`; undefined: no service was started there by this user. */
async function usualFolder({ usualData }: ServiceEnvironment): Promise<string | undefined> {
  if (usualData === undefined) return undefined;
  return (await readAdmin(usualData)) === undefined ? undefined : usualData;
}

async function inFolder(folder: string): Promise<ServiceAddress> {
  const admin = await readAdmin(folder);
  if (admin === undefined) {
    throw new HoldfastError(
      'ServiceNotFound',
      (await isForbidden(join(folder, 'admin.json')))
        ? `${join(folder, 'admin.json')} cannot be read by this user; ${await asWhomToRun(folder)}`
        : `${folder} has no admin.json: it is no data folder of "holdfast serve"`,
    );
  }
  const state = await readFields(join(folder, 'state.json'));
  const { tenantId, subscriptionId, clientId, clientSecret } = admin;
  if (!tenantId || !subscriptionId || !clientId || !clientSecret) {
    throw new HoldfastError('ServiceNotFound', `${join(folder, 'admin.json')} is incomplete`);
  }
  const url = state?.['url'] ?? admin['url'];
  if (url === undefined) {
    throw new HoldfastError('ServiceNotFound', `${folder} does not say where its service listens`);
  }
  return {
    url: plainUrl(url),
    authority: await readAuthority(admin['caFile']),
    tenantId,
    subscriptionId,
    clientId,
    clientSecret,
    foundBy: `the data folder ${folder}`,
    secretFrom: join(folder, 'admin.json'),
  };
}

async function inEnvironment(environment: ServiceEnvironment): Promise<ServiceAddress> {
  const { url, caFile, tenantId, subscriptionId, clientId, clientSecret } = environment;
  const needed = {
    HOLDFAST_TENANT_ID: given(tenantId),
    HOLDFAST_SUBSCRIPTION_ID: given(subscriptionId),
    HOLDFAST_CLIENT_ID: given(clientId),
    HOLDFAST_CLIENT_SECRET: given(clientSecret),
  };
  const missing = Object.entries(needed).flatMap(([name, value]) =>
    value === undefined ? [name] : [],
  );
  if (missing.length > 0) {
    throw new HoldfastError(
      'ServiceNotFound',
      `HOLDFAST_URL is set, but not ${missing.join(', ')}: they are in the admin.json of its data folder`,
    );
  }
  return {
    url: plainUrl(url!),
    authority: await readAuthority(given(caFile)),
    tenantId: tenantId!,
    subscriptionId: subscriptionId!,
    clientId: clientId!,
    clientSecret: clientSecret!,
    foundBy: 'HOLDFAST_URL',
    secretFrom: 'HOLDFAST_CLIENT_ID and HOLDFAST_CLIENT_SECRET',
  };
}

function plainUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new HoldfastError('ServiceNotFound', `${text} is no address such as https://host:8443`);
  }
  if (url.protocol === 'https:') return url.origin;
  throw new HoldfastError('ServiceNotFound', `${text} is not https: a secret goes over https only`);
}

async function readAuthority(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('ServiceNotFound', `cannot read the authority ${file}: ${reason}`);
  }
}

/** Undefined where it is not there, or not for this user. */
async function readAdmin(folder: string): Promise<Fields | undefined> {
  return await readFields(join(folder, 'admin.json'));
}

/** Whether the file may be there, but is not for this user. */
export async function isForbidden(file: string): Promise<boolean> {
  return await access(file, constants.R_OK).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === 'EACCES' || error.code === 'EPERM',
  );
}

type Fields = Readonly<Record<string, string | undefined>>;

async function readFields(file: string): Promise<Fields | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch {
    return undefined;
  }
  try {
    const value = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const texts = Object.entries(value).filter(([, field]) => typeof field === 'string');
    return Object.fromEntries(texts) as Fields;
  } catch {
    throw new HoldfastError('ServiceNotFound', `${file} is no JSON document of "holdfast serve"`);
  }
}

function given(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
