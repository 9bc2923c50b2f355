/** `holdfast principal …`: who may sign in. A secret is shown once. */
import { HoldfastError } from '#base';
import { formatFacts } from '../output/facts.ts';
import { formatTable, left } from '../output/table.ts';
import { UsageError } from '../usage-error.ts';
import { confirm } from './confirm.ts';
import { isSame, notFound } from './names.ts';
import type { ServiceContext } from './run-service-command.ts';
import type { Service } from './service.ts';
import { shortTime } from './time.ts';

type Facts = {
  readonly clientId: string;
  readonly displayName: string;
  readonly createdTime: string;
};

type WirePrincipal = { readonly properties: Facts };
type WithSecret = { readonly properties: Facts & { readonly clientSecret: string } };

export async function createPrincipal(
  { service, terminal }: ServiceContext,
  displayName: string,
): Promise<void> {
  const body = { properties: { displayName } };
  const answer = (await service.http.json('POST', pathOf(service), { body })) as WithSecret;
  tellSecret({ service, terminal }, answer.properties);
}

export async function showPrincipals({ service, terminal }: ServiceContext): Promise<void> {
  const principals = await listPrincipals(service);
  terminal.result({ principals }, () =>
    formatTable(
      [left('NAME'), left('CLIENT ID'), left('CREATED')],
      principals.map(({ displayName, clientId, createdTime }) => [
        displayName,
        clientId,
        shortTime(createdTime),
      ]),
    ),
  );
}

export async function rotateSecret(
  { service, terminal }: ServiceContext,
  name: string,
): Promise<void> {
  const { clientId } = await findPrincipal(service, name);
  const at = `${pathOf(service, clientId)}/rotateSecret`;
  const answer = (await service.http.json('POST', at)) as WithSecret;
  tellSecret({ service, terminal }, answer.properties);
}

export async function deletePrincipal(
  context: ServiceContext,
  name: string,
  { yes, own }: { readonly yes?: boolean; readonly own?: boolean },
): Promise<void> {
  const { service, terminal } = context;
  const { clientId, displayName } = await findPrincipal(service, name);
  const { clientId: ownId, secretFrom } = service.http.address;
  if (isSame(clientId, ownId) && own !== true) {
    throw new UsageError(
      `${displayName} (${clientId}) is the account that this command signs in with, from ${secretFrom}: without it ` +
        'every later command would fail; to delete it all the same, give --own',
    );
  }
  await confirm(context, `delete the account ${displayName} (${clientId})`, yes);
  await service.http.json('DELETE', pathOf(service, clientId));
  terminal.result({ deleted: clientId }, () => `The account ${displayName} is deleted.`);
}

function tellSecret(
  { service, terminal }: Pick<ServiceContext, 'service' | 'terminal'>,
  principal: WithSecret['properties'],
): void {
  const { tenantId, subscriptionId, url } = service.http.address;
  terminal.result(
    { ...principal, tenantId, subscriptionId, url },
    () =>
      `${formatFacts([
        ['Name', principal.displayName],
        ['Client id', principal.clientId],
        ['Client secret', principal.clientSecret],
        ['Tenant', tenantId],
        ['Subscription', subscriptionId],
      ])}\n\nThe secret is shown this once.`,
  );
}

async function listPrincipals(service: Service): Promise<readonly Facts[]> {
  const found = await service.allOf<WirePrincipal>(pathOf(service));
  return found.map(({ properties }) => properties);
}

/** By its name or its client id. */
async function findPrincipal(service: Service, text: string): Promise<Facts> {
  const all = await listPrincipals(service);
  const matching = all.filter(
    ({ clientId, displayName }) => isSame(clientId, text) || isSame(displayName, text),
  );
  const [found] = matching;
  if (matching.length === 1 && found !== undefined) return found;
  const known = all.map(({ clientId, displayName }) => `${displayName} (${clientId})`);
  if (matching.length > 1) {
    const ids = matching.map((one) => one.clientId).join(' or ');
    throw new HoldfastError(
      'NameAmbiguous',
      `there are several accounts ${text}: give the client id, ${ids}`,
    );
  }
  throw notFound(`there is no account ${text}`, 'account', known);
}

function pathOf(service: Service, clientId?: string): string {
  const all = `${service.root}/providers/Holdfast.Backup/servicePrincipals`;
  return clientId === undefined ? all : `${all}/${encodeURIComponent(clientId)}`;
}
