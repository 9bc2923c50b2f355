/** Names of the service for completion, by plain requests: no SDK is loaded for a key press. */
import { ServiceHttp } from '../service/service-http.ts';
import { findService } from '../service/find-service.ts';
import { isSame, namedBy, type Named } from '../service/names.ts';
import type { Surroundings } from '../surroundings.ts';

const KINDS = [
  'account',
  'consistency-group',
  'group',
  'host',
  'job',
  'point',
  'policy',
  'principal',
  'vault',
  'vm',
] as const;

export type NameKind = (typeof KINDS)[number];

type Wanted = {
  readonly vault: string | undefined;
  /** Whose points. */
  readonly vm: string | undefined;
  readonly data: string | undefined;
  /** A group was typed: `lab/w`. */
  readonly isFull: boolean;
};

type Wire = {
  readonly id: string;
  readonly name: string;
  readonly properties?: { readonly displayName?: string; readonly sourceResourceId?: string };
};

/** Whoever types waits no longer. */
const LONGEST_MS = 2_000;

export function isNameKind(text: string): text is NameKind {
  return (KINDS as readonly string[]).includes(text);
}

/** Empty where the service is not found, does not answer in time, or refuses. */
export async function namesOf(
  kind: NameKind,
  wanted: Wanted,
  { environment, clock }: Surroundings,
): Promise<readonly string[]> {
  let http: ServiceHttp | undefined;
  const done = new AbortController();
  try {
    const address = await findService(wanted.data, environment.service);
    http = new ServiceHttp(address, () => clock.nowMs());
    const tooLate = clock.sleep(LONGEST_MS, done.signal).then(
      () => [],
      () => [],
    );
    return await Promise.race([find(new Finder(http), kind, wanted), tooLate]);
  } catch {
    return []; // Nothing may be said in the middle of a line that somebody types.
  } finally {
    done.abort();
    http?.close();
  }
}

class Finder {
  readonly #http: ServiceHttp;
  readonly root: string;

  constructor(http: ServiceHttp) {
    this.#http = http;
    this.root = `/subscriptions/${http.address.subscriptionId}`;
  }

  async list(path: string): Promise<readonly Wire[]> {
    return ((await this.#http.json('GET', path)) as { readonly value: readonly Wire[] }).value;
  }

  async vaults(name?: string): Promise<readonly Wire[]> {
    const all = await this.list(`${this.root}/providers/Microsoft.RecoveryServices/vaults`);
    return name === undefined ? all : all.filter(({ id }) => isNamed(namedBy(id), name));
  }
}

async function find(finder: Finder, kind: NameKind, wanted: Wanted): Promise<readonly string[]> {
  const { root } = finder;
  const { isFull } = wanted;
  switch (kind) {
    case 'vm':
      return shortNames(
        await finder.list(`${root}/providers/Microsoft.Compute/virtualMachines`),
        isFull,
      );
    case 'vault':
      return shortNames(await finder.vaults(), isFull);
    case 'account':
      return shortNames(
        await finder.list(`${root}/providers/Microsoft.Storage/storageAccounts`),
        isFull,
      );
    case 'host':
      return namesOnly(await finder.list(`${root}/providers/Holdfast.Backup/hosts`));
    case 'group':
      return namesOnly(await finder.list(`${root}/resourceGroups`));
    case 'principal': {
      const all = await finder.list(`${root}/providers/Holdfast.Backup/servicePrincipals`);
      return all.map(({ name, properties }) => properties?.displayName ?? name);
    }
    case 'consistency-group':
      return namesOnly(await inVaults(finder, wanted, 'consistencyGroups'));
    case 'policy':
      return namesOnly(await inVaults(finder, wanted, 'backupPolicies'));
    case 'job':
      return namesOnly(await inVaults(finder, wanted, 'backupJobs'));
    case 'point':
      return ['latest', ...(await points(finder, wanted))];
  }
}

/** What Azure has none of lies below our own provider. */
function pathOf(vaultId: string, what: string): string {
  const own = vaultId.replace('/Microsoft.RecoveryServices/', '/Holdfast.Backup/');
  return `${what === 'consistencyGroups' ? own : vaultId}/${what}`;
}

async function inVaults(finder: Finder, { vault }: Wanted, what: string): Promise<readonly Wire[]> {
  const vaults = await finder.vaults(vault);
  const paths = vaults.map(({ id }) => pathOf(id, what));
  return (await Promise.all(paths.map(async (path) => await finder.list(path)))).flat();
}

async function points(finder: Finder, wanted: Wanted): Promise<readonly string[]> {
  const { vm } = wanted;
  if (vm === undefined) return [];
  const items = await inVaults(finder, wanted, 'backupProtectedItems');
  const its = items.filter(({ properties }) => isNamed(namedBy(properties?.sourceResourceId), vm));
  const lists = its.map(async ({ id }) => await finder.list(`${id}/recoveryPoints`));
  return namesOnly((await Promise.all(lists)).flat());
}

/** The name alone where only one has it, unless with groups was asked for. */
function shortNames(resources: readonly Wire[], isFull: boolean): readonly string[] {
  const named = resources.map(({ id }) => namedBy(id));
  return named.map(({ group, name }) =>
    isFull || named.filter((other) => isSame(other.name, name)).length > 1
      ? `${group}/${name}`
      : name,
  );
}

function namesOnly(resources: readonly Wire[]): readonly string[] {
  return resources.map(({ name }) => name);
}

function isNamed({ group, name }: Named, text: string): boolean {
  return isSame(text.includes('/') ? `${group}/${name}` : name, text);
}
