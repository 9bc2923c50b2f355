/** What was accepted for a vault: an operation that is done, with the job that shows how it goes. */
import { addOperation, type Vault } from '#service';
import { acceptedAnswer } from '../frame/async-answer.ts';
import type { ApiAnswer, ApiRequest } from '../frame/route.ts';
import { vaultId } from '../ids.ts';

export async function acceptedJob(
  request: ApiRequest<unknown, unknown>,
  vault: Vault,
  job: { readonly kind: string; readonly target: string; readonly jobId: string },
): Promise<ApiAnswer> {
  const { service } = request;
  const id = await service.catalogue.change(async (change) =>
    addOperation(service, change, { vaultId: vault.id, ...job }),
  );
  const at = vaultId(request, vault);
  return acceptedAnswer(request, {
    status: `${at}/backupOperations/${id}`,
    result: `${at}/backupOperationResults/${id}`,
  });
}
