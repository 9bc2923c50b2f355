/** Service principals: who may sign in. What each may do is not told apart yet: all may everything. */
import { randomUUID } from 'node:crypto';
import { HoldfastError } from '#base';
import { noteActivity } from '../activities/activities.ts';
import type { CatalogueChange, CatalogueReader } from '../catalogue/catalogue.ts';
import type { Row } from '../catalogue/schema.ts';
import { nameKey, parseName } from '../names.ts';
import type { RecordParts } from '../record-parts.ts';
import { hashSecret, makeSecret } from './secret-hash.ts';

export type Principal = {
  /** A UUID. */
  readonly clientId: string;
  readonly name: string;
  readonly createdAt: number;
};

/** The secret is told once, and kept nowhere. */
export type NewPrincipal = Principal & { readonly clientSecret: string };

type Parts = Pick<RecordParts, 'catalogue' | 'clock' | 'random' | 'actor'>;

/**
 * @param announce told before the account is there: with a crash in between somebody knows one that does not work,
 *   never the other way round.
 * @throws {HoldfastError} `InvalidResourceName`; `ResourceExists` for a name that another has, whatever the case.
 */
export async function createPrincipal(
  parts: Parts,
  name: string,
  announce: (principal: NewPrincipal) => Promise<void> = async () => undefined,
): Promise<NewPrincipal> {
  const { catalogue, clock, random } = parts;
  const clientSecret = makeSecret(random);
  const row = {
    clientId: randomUUID(),
    name: parseName(name, 'service principal'),
    secretHash: await hashSecret(clientSecret, random),
    createdAt: clock.nowMs(),
    disabledAt: null,
  };
  const principal = { ...principalOf(row), clientSecret };
  await requireUnused(catalogue.read, row.name);
  await announce(principal);
  await catalogue.change(async (change) => {
    await requireUnused(change, row.name);
    await change.insertInto('principals').values(row).execute();
    await noted(parts, change, { action: 'create service principal', principal });
  });
  return principal;
}

/** Commands call accounts by their names. */
async function requireUnused(reader: CatalogueReader, name: string): Promise<void> {
  const same = (await listPrincipals(reader)).find((one) => nameKey(one.name) === nameKey(name));
  if (same === undefined) return;
  throw new HoldfastError(
    'ResourceExists',
    `There is a service principal '${same.name}' (${same.clientId}): give another name, or rotate its secret.`,
  );
}

/** Gives it another secret; the old one is void at once, tokens that were given for it within the hour. */
export async function rotateSecret(parts: Parts, clientId: string): Promise<NewPrincipal> {
  const clientSecret = makeSecret(parts.random);
  const secretHash = await hashSecret(clientSecret, parts.random);
  return await parts.catalogue.change(async (change) => {
    const principal = await getPrincipal(change, clientId);
    await change
      .updateTable('principals')
      .set({ secretHash })
      .where('clientId', '=', principal.clientId)
      .execute();
    await noted(parts, change, { action: 'rotate secret', principal });
    return { ...principal, clientSecret };
  });
}

/** Its tokens are void at once. @throws {HoldfastError} `PrincipalNotFound`; `PrincipalNeeded` for the last one. */
export async function deletePrincipal(
  parts: Omit<Parts, 'random'>,
  clientId: string,
): Promise<void> {
  await parts.catalogue.change(async (change) => {
    const principal = await getPrincipal(change, clientId);
    if ((await listPrincipals(change)).length === 1) {
      throw new HoldfastError(
        'PrincipalNeeded',
        `'${principal.name}' is the last service principal: without it nobody could sign in.`,
      );
    }
    await change.deleteFrom('principals').where('clientId', '=', principal.clientId).execute();
    await noted(parts, change, { action: 'delete service principal', principal });
  });
}

/** Never with the secret. */
async function noted(
  parts: Pick<Parts, 'clock' | 'actor'>,
  change: CatalogueChange,
  of: { readonly action: string; readonly principal: Principal },
): Promise<void> {
  const { clientId, name: target } = of.principal;
  await noteActivity(parts, change, { action: of.action, target, detail: { clientId } });
}

/** Oldest first. */
export async function listPrincipals(reader: CatalogueReader): Promise<readonly Principal[]> {
  const query = reader.selectFrom('principals').selectAll().where('disabledAt', 'is', null);
  return (await query.orderBy('createdAt').orderBy('clientId').execute()).map(principalOf);
}

/** @throws {HoldfastError} `PrincipalNotFound`. */
export async function getPrincipal(reader: CatalogueReader, clientId: string): Promise<Principal> {
  const row = await principalRow(reader, clientId);
  if (row !== undefined) return principalOf(row);
  throw new HoldfastError('PrincipalNotFound', `There is no service principal '${clientId}'.`);
}

export async function principalRow(
  reader: CatalogueReader,
  clientId: string,
): Promise<Row<'principals'> | undefined> {
  return await reader
    .selectFrom('principals')
    .selectAll()
    .where('clientId', '=', clientId.toLowerCase())
    .where('disabledAt', 'is', null)
    .executeTakeFirst();
}

export function principalOf({ clientId, name, createdAt }: Row<'principals'>): Principal {
  return { clientId, name, createdAt };
}
