/** What was accepted for an item: an operation that is done, with the job that shows how it goes. */
import { addOperation, getVault, type ItemName } from '#service';
import { acceptedAnswer } from '../frame/async-answer.ts';
import type { ApiAnswer, ApiRequest } from '../frame/route.ts';
import { itemId } from './item-names.ts';

/** What the operations of items were, for those who ask for their results. */
export type ItemOperation =
  | 'PutItem'
  | 'DeleteItem'
  | 'Backup'
  | 'Restore'
  | 'InstantBoot'
  | 'ExportDisks';

/** @param jobId of the job that was begun. */
export async function accepted(
  request: ApiRequest<unknown, unknown>,
  of: { readonly name: ItemName; readonly kind: ItemOperation; readonly jobId: string },
): Promise<ApiAnswer> {
  const { service } = request;
  const { name, kind, jobId } = of;
  const vault = await getVault(service.catalogue.read, name.vault);
  const at = itemId(request, vault, name.vm);
  const operation = { vaultId: vault.id, kind, target: at, jobId };
  const id = await service.catalogue.change(async (change) =>
    addOperation(service, change, operation),
  );
  const status = `${at}/operationsStatus/${id}`;
  return acceptedAnswer(request, { status, result: `${at}/operationResults/${id}` });
}
